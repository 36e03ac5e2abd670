# Counts the words of each item. Requests come on descriptor 3, replies go to 4; print() stays free for your own words.
import json
requests, replies = open(3, encoding="utf-8"), open(4, "w", encoding="utf-8", buffering=1)
print('{"poolctl":1}', file=replies)

for line in requests:
    task = json.loads(line)
    words = len(str(task["data"]).split())
    print(json.dumps({"id": task["id"], "ok": words}), file=replies)
