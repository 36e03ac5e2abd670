use std::io::{Read, Write};
use poolctl_supervisor::*;
struct T(Vec<Vec<u8>>);
impl CommandTemplate for T { fn command(&self,_:Item,p:&[u8],_:Slot)->Result<CommandLine,ArgumentError>{ let mut a=self.0.clone(); a.push(p.to_vec()); Ok(CommandLine{argv:a,stdin:None}) } fn program(&self)->Option<&[u8]>{Some(&self.0[0])}}
struct S { ok:u64, bad:u64, out: Vec<u8>, show: bool }
impl Sink for S {
 fn run(&mut self, i: ItemRange, r:&[u8]) { self.ok+=u64::from(i.count); if self.show { self.out.extend_from_slice(r);} }
 fn settled(&mut self, r: Report) { if r.outcome==Outcome::Ok { self.ok+=1; if self.show { self.out.extend(r.attempt.out.to_vec().unwrap()); } } else { self.bad+=1; if self.bad<10 {eprintln!("{:?} {:?} {:?}", r.item, r.outcome, r.attempt);} } }
 fn notice(&mut self, n: Notice) { eprintln!("{n:?}"); }
}
fn main() -> std::process::ExitCode {
 if keeper::requested() { return keeper::serve(); }
 let a: Vec<String> = std::env::args().collect();
 let argv: Vec<Vec<u8>> = a[3..].iter().map(|s| s.clone().into_bytes()).collect();
 let target = match a[1].as_str() { "cmd" => Target::Command(Box::new(T(argv))), "lines" => Target::Lines{argv, ahead: 64, reply_timeout: std::time::Duration::from_secs(10), eot: None},
   "line1" => Target::Lines{argv, ahead: 1, reply_timeout: std::time::Duration::from_secs(10), eot: None},
   "py" => Target::Python{interpreter: std::env::var("PY").unwrap_or("/usr/bin/python3".into()).into_bytes(), module: argv[0].clone(), function: a[4].clone(), starmap:false}, _=>Target::Worker{argv, framing: Framing::JsonLines, function:None, stdio:false}};
 let mut e = EngineConfig::default(); e.slots = a[2].parse().unwrap();
 let mut sup = Supervisor::start(PoolConfig{engine:e,target,detail:Detail::Bulk,env:vec![],nice:None,spawn_ahead:1,max_rss:None,run_id:format!("t{}",std::process::id()),keeper:std::env::current_exe().unwrap(),spill_dir:"/tmp".into(),memory_per_output:1<<20}).unwrap();
 let mut sink=S{ok:0,bad:0,out:vec![],show:std::env::var("SHOW").is_ok()};
 let t=std::time::Instant::now();
 let mut stdin=std::io::stdin().lock(); let mut left=Vec::new(); let mut ended=false;
 loop {
  while !ended && sup.wants_input() { let mut buf=vec![0;256<<10]; let n=stdin.read(&mut buf).unwrap(); if n==0 { ended=true; sup.end_of_input(); break; }
    left.extend_from_slice(&buf[..n]); let Some(p)=left.iter().rposition(|b|*b==10) else {continue}; let rest=left.split_off(p+1); let bytes=std::mem::replace(&mut left,rest);
    let ends: Vec<u32>=bytes.iter().enumerate().filter(|(_,b)|**b==10).map(|(i,_)|(i+1) as u32).collect(); sup.push(Block{bytes,ends}); }
  if sup.turn(&mut sink,None)==Turn::Finished {break;}
  if !sink.out.is_empty() { std::io::stdout().write_all(&sink.out).unwrap(); sink.out.clear(); }
 }
 std::io::stdout().write_all(&sink.out).unwrap();
 eprintln!("ok {} bad {} {:?} {:?}", sink.ok, sink.bad, t.elapsed(), sup.counts());
 sup.shut_down();
 std::process::ExitCode::SUCCESS
}
