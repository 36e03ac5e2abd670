# Turns each item round. Requests come on descriptor 3, replies go to 4; print stays free for your own words.
use strict; use warnings; use IO::Handle; use JSON::PP;
open my $requests, "<&=3" or die $!; open my $replies, ">&=4" or die $!; $replies->autoflush(1);
print $replies qq({"poolctl":1}\n);
while (my $line = <$requests>) {
    my $task = decode_json($line);
    print $replies encode_json({ id => $task->{id}, ok => scalar reverse $task->{data} }), "\n";
}
