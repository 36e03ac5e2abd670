# Gives the MD5 sum of each text. A request is `id TAB text`, a reply `id TAB ok TAB text`; %b takes the escapes out.
printf '{"poolctl":1}\n' >&4
while IFS=$'\t' read -r -u 3 id text; do
  sum=$(printf %b "$text" | md5sum)
  printf '%s\tok\t%s\n' "$id" "${sum%% *}" >&4
done
