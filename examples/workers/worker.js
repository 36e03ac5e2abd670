// Writes each item in capitals. Requests come on descriptor 3, replies go to 4; console.log stays free.
const fs = require("node:fs");
const reply = (message) => fs.writeSync(4, JSON.stringify(message) + "\n");

reply({ poolctl: 1 });
require("node:readline").createInterface({ input: fs.createReadStream(null, { fd: 3 }) }).on("line", (line) => {
  const task = JSON.parse(line);
  reply({ id: task.id, ok: String(task.data).toUpperCase() });
});
