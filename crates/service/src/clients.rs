//! All connections, and which of them have something to send.

use std::collections::BTreeMap;

use crate::client::Client;
use crate::ledger::ClientId;

/// All connections.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    known: BTreeMap<ClientId, Client>,
    touched: Vec<ClientId>,
}

impl Clients {
    pub(crate) fn insert(&mut self, client: Client) {
        self.touched.push(client.id);
        self.known.insert(client.id, client);
    }

    pub(crate) fn remove(&mut self, id: ClientId) -> Option<Client> {
        self.known.remove(&id)
    }

    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    pub(crate) fn get(&self, id: ClientId) -> Option<&Client> {
        self.known.get(&id)
    }

    /// The client, to tell it something.
    pub(crate) fn tell(&mut self, id: ClientId) -> Option<&mut Client> {
        let client = self.known.get_mut(&id)?;
        if self.touched.last() != Some(&id) {
            self.touched.push(id);
        }
        Some(client)
    }

    /// Those that may have something to send, each once.
    pub(crate) fn take_touched(&mut self) -> Vec<ClientId> {
        let mut touched = std::mem::take(&mut self.touched);
        touched.sort_unstable();
        touched.dedup();
        touched
    }

    /// Those who have a pool.
    pub(crate) fn of_pool(&self, pool: u64) -> Vec<ClientId> {
        let has_it = self.known.values().filter(|client| client.accounts.contains_key(&pool));
        has_it.map(|client| client.id).collect()
    }

    pub(crate) fn ids(&self) -> Vec<ClientId> {
        self.known.keys().copied().collect()
    }
}
