/** How much a pool takes: items and bytes in all, since the beginning. Who wants to send waits here, in order. */

export class Credit {
  #sent = { items: 0, bytes: 0 };
  #granted = { items: 0, bytes: 0 };
  /** @type {{bytes: number, resolve: () => void}[]} */
  #waiting = [];

  /** The server takes so much in all. @param {{items: number, bytes: number}} granted */
  grant(granted) {
    this.#granted = granted;
    while (this.#waiting.length > 0 && this.#take(this.#waiting[0].bytes)) this.#waiting.shift()?.resolve();
  }

  /** Counts an item, now if there is credit and nobody waits; else gives what to wait for. @param {number} bytes */
  take(bytes) {
    if (this.#waiting.length === 0 && this.#take(bytes)) return null;
    return new Promise((resolve) => { this.#waiting.push({ bytes, resolve: () => resolve(undefined) }); });
  }

  /** What was counted and then not sent, or refused. @param {number} items @param {number} bytes */
  giveBack(items, bytes) {
    this.#sent.items -= items;
    this.#sent.bytes -= bytes;
    this.grant(this.#granted);
  }

  /** Nobody needs to wait any more, since nothing is sent. */
  open() {
    this.grant({ items: Infinity, bytes: Infinity });
  }

  /** @param {number} bytes */
  #take(bytes) {
    const { items: items, bytes: most } = this.#granted;
    // The last item may go beyond the bytes, so that one larger than the window can be sent at all.
    const isCovered = this.#sent.items < items && (this.#sent.bytes + bytes <= most || this.#sent.bytes < most);
    if (isCovered) {
      this.#sent.items += 1;
      this.#sent.bytes += bytes;
    }
    return isCovered;
  }
}
