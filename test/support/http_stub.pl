#!/usr/bin/perl
# An HTTP/1.1 server on 127.0.0.1 for tests. Core Perl only, one process, any number of connections.
#
#   http_stub.pl --log FILE [--port N] [--port-file FILE]
#
# Port 0, the default, takes a free one. The port is printed, and written to --port-file when the
# server listens. Each request that was read whole is one line of JSON in the log, before its
# answer is sent: {"n":1,"method":"POST","path":"/x","headers":{...},"body":"..."}. Header names
# are in lower case; bytes of the body that are not ASCII are written as \u00XX. SIGTERM ends it.
#
# The path decides the answer; anything else is 200 {"ok":true}.
#
#   /status/NNN[/...]      that status, with Retry-After: N for ?retry_after=N
#   /delay/MS[/...]        200 after MS milliseconds
#   /held/N/MS/KEY[...]    200 after MS milliseconds to the first N requests of that key, at once to
#                          the rest
#   /flaky/N/STATUS/KEY    STATUS to the first N requests of that path, 200 to the rest
#   /bytes/N               200 with a body of N bytes
#   /gzip/N                200, the same, packed with gzip
#   /text/CHARSET/HEX      200, a text of these bytes; CHARSET may be -, for none
#   /headers               200, the body is the request's headers as JSON
#   /echo                  200, the body and content type of the request
#   /redirect?to=URL       302 to URL, which is taken as it stands
#   /token                 200, an OAuth token response
#   /invalid-grant         400, an OAuth error
#   /oauth[/MODE]          a token endpoint (RFC 6749, section 6) that rotates refresh tokens: each
#                          is accepted once, and those that it has not issued if they begin with
#                          "initial-". Modes: no-expiry, keep (no rotation), html, busy/N/KEY
#                          (temporarily_unavailable to the first N requests)
#   /reset                 closes with a TCP reset instead of an answer
#   /close                 closes without an answer
#   /truncated             closes in the middle of the body
#   /garbage               bytes that are not HTTP
#   /endless-headers       headers without end
#   /endless-body          200, a body without end
#   /twice                 200 with the header X-Twice two times
#   /latin1                200, a body that is text in LATIN1 only
use strict;
use warnings;
use Errno qw(EAGAIN EWOULDBLOCK EINTR);
use Getopt::Long;
use IO::Compress::Gzip;
use IO::Select;
use IO::Socket::INET;
use Socket qw(SOL_SOCKET SO_LINGER IPPROTO_TCP TCP_NODELAY);
use Time::HiRes qw(time);

my %reason = (200 => 'OK', 302 => 'Found', 400 => 'Bad Request', 401 => 'Unauthorized',
    429 => 'Too Many Requests', 500 => 'Internal Server Error', 503 => 'Service Unavailable');
my ($port, $port_file, $log_file) = (0);
GetOptions('port=i' => \$port, 'port-file=s' => \$port_file, 'log=s' => \$log_file)
    && defined $log_file
    or die "usage: $0 --log FILE [--port N] [--port-file FILE]\n";

my %connections;    # by file number: {socket, in, out, due, close, reset}
my %answered;       # requests so far, by path, for /held, /flaky and /oauth/busy
my %packed;         # bodies of /gzip
my %issued;         # refresh tokens of /oauth that may be used, once
my %used;           # and those that were
my $count   = 0;
my $running = 1;
$SIG{TERM} = $SIG{INT} = sub { $running = 0 };
$SIG{PIPE} = 'IGNORE';

open(my $log, '>>', $log_file) or die "cannot open $log_file: $!\n";
$log->autoflush(1);
my $listener = IO::Socket::INET->new(
    LocalAddr => '127.0.0.1', LocalPort => $port, Proto => 'tcp',
    Listen    => 1024, ReuseAddr => 1, Blocking => 0) or die "cannot listen: $!\n";
my $readers = IO::Select->new($listener);
my $writers = IO::Select->new;
announce($listener->sockport);

while ($running)
{
    my ($readable, $writable) = IO::Select->select($readers, $writers, undef, next_timeout());
    for my $socket (@{ $readable // [] })
    {
        if ($socket == $listener) { accept_all() }
        elsif (my $c = connection_of($socket)) { receive($c) }
    }
    for my $socket (@{ $writable // [] })
    {
        if (my $c = connection_of($socket)) { advance($c) }
    }
    release_due();
}

sub announce
{
    my ($bound) = @_;
    local $| = 1;
    print "$bound\n";
    return unless defined $port_file;
    # Renamed into place, so that a reader never sees half of it.
    open(my $file, '>', "$port_file.tmp") or die "cannot write $port_file.tmp: $!\n";
    print $file "$bound\n";
    close $file or die "cannot write $port_file.tmp: $!\n";
    rename("$port_file.tmp", $port_file) or die "cannot rename to $port_file: $!\n";
}

sub accept_all
{
    while (my $socket = $listener->accept)
    {
        $socket->blocking(0);
        setsockopt($socket, IPPROTO_TCP, TCP_NODELAY, 1);
        $connections{ $socket->fileno } = { socket => $socket, in => '', out => '' };
        $readers->add($socket);
    }
}

# Nothing if it was dropped earlier in the same round.
sub connection_of
{
    my ($socket) = @_;
    my $number = $socket->fileno;
    return defined $number ? $connections{$number} : undef;
}

sub drop
{
    my ($c) = @_;
    my $socket = $c->{socket};
    $readers->remove($socket);
    $writers->remove($socket);
    delete $connections{ $socket->fileno };
    setsockopt($socket, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0)) if $c->{reset};
    close $socket;
    $c->{gone} = 1;
}

sub receive
{
    my ($c) = @_;
    my $got = sysread($c->{socket}, $c->{in}, 65536, length $c->{in});
    if (!defined $got)
    {
        return if $! == EAGAIN || $! == EWOULDBLOCK || $! == EINTR;
        return drop($c);
    }
    return drop($c) if $got == 0;
    advance($c);
}

# Sends what waits and answers what was read, until something is missing. One request at a time:
# the next waits for the answer to the last.
sub advance
{
    my ($c) = @_;
    while (!$c->{gone} && !defined $c->{due})
    {
        if ($c->{out} ne '')
        {
            flush_output($c) or return;
            next;
        }
        my $request = take_request($c) or return;
        $count++;
        print $log to_json([ [ n => \$count ], [ method => $request->{method} ],
            [ path => $request->{path} ], [ headers => $request->{headers} ],
            [ body => $request->{body} ] ]), "\n";
        $c->{close} = 1 if lc($request->{headers}{connection} // '') eq 'close';
        answer($c, $request);
    }
}

# True when everything is sent.
sub flush_output
{
    my ($c) = @_;
    while ($c->{out} ne '')
    {
        my $sent = syswrite($c->{socket}, $c->{out});
        if (!defined $sent)
        {
            drop($c) unless $! == EAGAIN || $! == EWOULDBLOCK || $! == EINTR;
            $writers->add($c->{socket}) unless $c->{gone};
            return 0;
        }
        substr($c->{out}, 0, $sent, '');
    }
    if (defined $c->{more})
    {
        # Goes on when the socket takes more, so that the others get their turn.
        $c->{out} = $c->{more};
        $writers->add($c->{socket});
        return 0;
    }
    $writers->remove($c->{socket});
    drop($c) if $c->{close};
    return 1;
}

# Removes one whole request from the input; nothing if there is none yet.
sub take_request
{
    my ($c) = @_;
    my $end = index($c->{in}, "\r\n\r\n");
    return if $end < 0;
    my ($first, @lines) = split /\r\n/, substr($c->{in}, 0, $end);
    my %headers;
    for (@lines)
    {
        my ($name, $value) = split /:\s*/, $_, 2;
        $headers{ lc $name } = $value;
    }
    if (lc($headers{expect} // '') eq '100-continue' && !$c->{continued})
    {
        $c->{continued} = 1;
        syswrite($c->{socket}, "HTTP/1.1 100 Continue\r\n\r\n");
    }
    my $length = $headers{'content-length'} // 0;
    return if length($c->{in}) < $end + 4 + $length;
    $c->{continued} = 0;
    my $body = substr($c->{in}, $end + 4, $length);
    substr($c->{in}, 0, $end + 4 + $length, '');
    my ($method, $path) = split / /, $first;
    return { method => $method, path => $path // '', headers => \%headers, body => $body };
}

sub answer
{
    my ($c, $request) = @_;
    my $path = $request->{path};
    my $ok   = '{"ok":true}';
    if (my ($status) = $path =~ m{^/status/(\d{3})})
    {
        my @more = $path =~ /[?&]retry_after=(\d+)/ ? ("Retry-After: $1") : ();
        my $body = $status == 204 || $status == 304 ? '' : $ok;
        respond($c, $request, $status, $body, 'application/json', @more);
    }
    elsif ($path =~ m{^/delay/(\d+)})
    {
        $c->{due} = time + $1 / 1000;
        respond($c, $request, 200, $ok);
    }
    elsif ($path =~ m{^(/held/(\d+)/(\d+)/\w+)})
    {
        $c->{due} = time + $3 / 1000 if $answered{$1}++ < $2;
        respond($c, $request, 200, $ok);
    }
    elsif ($path =~ m{^/flaky/(\d+)/(\d{3})(?:/|$)})
    {
        respond($c, $request, $answered{$path}++ < $1 ? $2 : 200, $ok);
    }
    elsif ($path =~ m{^/bytes/(\d+)}) { respond($c, $request, 200, 'x' x $1, 'text/plain') }
    elsif ($path =~ m{^/gzip/(\d+)})
    {
        $packed{$1} //= gzip($1);
        respond($c, $request, 200, $packed{$1}, 'text/plain', 'Content-Encoding: gzip');
    }
    elsif ($path =~ m{^/text/([^/]+)/([0-9a-f]*)$})
    {
        my $type = $1 eq '-' ? 'text/plain' : "text/plain; charset=$1";
        respond($c, $request, 200, pack('H*', $2), $type);
    }
    elsif ($path =~ m{^/headers})
    {
        respond($c, $request, 200, to_json($request->{headers}));
    }
    elsif ($path =~ m{^/echo})
    {
        respond($c, $request, 200, $request->{body}, $request->{headers}{'content-type'});
    }
    elsif ($path =~ m{^/redirect\?to=(.*)})
    {
        respond($c, $request, 302, '', 'text/plain', "Location: $1");
    }
    elsif ($path =~ m{^/token})
    {
        respond($c, $request, 200, '{"access_token":"new-access","token_type":"Bearer",'
              . '"expires_in":3600,"refresh_token":"new-refresh"}');
    }
    elsif ($path =~ m{^/invalid-grant}) { respond($c, $request, 400, '{"error":"invalid_grant"}') }
    elsif ($path =~ m{^/oauth(?:/(.*))?$}) { issue_token($c, $request, $1 // '') }
    elsif ($path =~ m{^/reset}) { $c->{reset} = 1; drop($c) }
    elsif ($path =~ m{^/close}) { drop($c) }
    elsif ($path =~ m{^/truncated})
    {
        $c->{out}   = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"ok\":";
        $c->{close} = 1;
    }
    elsif ($path =~ m{^/garbage})
    {
        $c->{out}   = "\x00\xff this is not HTTP\r\n\r\n";
        $c->{close} = 1;
    }
    elsif ($path =~ m{^/endless-headers})
    {
        $c->{out}  = "HTTP/1.1 200 OK\r\n";
        $c->{more} = join '', map { "X-Header-$_: " . ('x' x 1000) . "\r\n" } 1 .. 50;
    }
    elsif ($path =~ m{^/endless-body})
    {
        $c->{out}  = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n";
        $c->{more} = 'x' x 65536;
    }
    elsif ($path =~ m{^/twice})
    {
        respond($c, $request, 200, $ok, undef, 'X-Twice: one', 'X-Twice: two');
    }
    elsif ($path =~ m{^/latin1})
    {
        respond($c, $request, 200, "caf\xe9", 'text/plain; charset=iso-8859-1');
    }
    else { respond($c, $request, 200, $ok) }
}

# So many letters x.
sub gzip
{
    my ($size) = @_;
    my $block  = 'x' x 1_000_000;
    my $packed = '';
    my $gzip   = IO::Compress::Gzip->new(\$packed);
    for (my $left = $size; $left > 0; $left -= length $block)
    {
        $gzip->print(substr($block, 0, $left));
    }
    $gzip->close;
    return $packed;
}

sub issue_token
{
    my ($c, $request, $mode) = @_;
    return respond($c, $request, 200, '<html><body>Sign in</body></html>', 'text/html') if $mode eq 'html';
    if ($mode =~ m{^busy/(\d+)/} && $answered{$mode}++ < $1)
    {
        return respond($c, $request, 503, '{"error":"temporarily_unavailable"}');
    }
    my %form = map { tr/+/ /; s/%([0-9A-Fa-f]{2})/chr hex $1/ger } map { split /=/, $_, 2 }
        split /&/, $request->{body};
    my $error =
        $request->{method} ne 'POST'
          || ($request->{headers}{'content-type'} // '') !~ m{^application/x-www-form-urlencoded\b}
          || !defined $form{refresh_token} ? 'invalid_request'
      : ($form{grant_type} // '') ne 'refresh_token' ? 'unsupported_grant_type'
      : ($form{client_id} // '') ne 'the-client' || ($form{client_secret} // '') ne 'client-s3cret+&='
        ? 'invalid_client' : undef;
    my $old = $form{refresh_token} // '';
    $error //= 'invalid_grant'
        if $used{$old} || !($issued{$old} || $old =~ /^initial-/);
    return respond($c, $request, $error eq 'invalid_client' ? 401 : 400,
        qq({"error":"$error","error_description":"not $old"})) if defined $error;
    my @answer = (qq("access_token":"access-$count-of-$old"), '"token_type":"Bearer"');
    push @answer, '"expires_in":7200' unless $mode eq 'no-expiry';
    if ($mode ne 'keep')
    {
        $used{$old} = 1;
        my ($who) = $old =~ /^(?:initial|rotated-\d+)-(.*)/;
        my $new = "rotated-$count-$who";
        $issued{$new} = 1;
        push @answer, qq("refresh_token":"$new");
    }
    respond($c, $request, 200, '{' . join(',', @answer) . '}');
}

sub respond
{
    my ($c, $request, $status, $body, $type, @more) = @_;
    my @head = (
        "HTTP/1.1 $status " . ($reason{$status} // 'Status'),
        'Content-Type: ' . ($type // 'application/json'),
        'Connection: ' . ($c->{close} ? 'close' : 'keep-alive'), @more);
    push @head, 'Content-Length: ' . length $body unless $status == 204 || $status == 304;
    $c->{out} = join("\r\n", @head) . "\r\n\r\n" . ($request->{method} eq 'HEAD' ? '' : $body);
}

sub next_timeout
{
    my @due = sort { $a <=> $b } map { $_->{due} // () } values %connections;
    return unless @due;
    my $wait = $due[0] - time;
    return $wait > 0 ? $wait : 0;
}

sub release_due
{
    my $now = time;
    for my $c (values %connections)
    {
        next unless defined $c->{due} && $c->{due} <= $now;
        delete $c->{due};
        advance($c);
    }
}

# A string, a reference to a number, a hash (keys sorted), or a list of pairs (in order).
sub to_json
{
    my ($value) = @_;
    return 'null' unless defined $value;
    return $$value if ref $value eq 'SCALAR';
    my @pairs =
        ref $value eq 'ARRAY' ? @$value
      : ref $value eq 'HASH'  ? (map { [ $_ => $value->{$_} ] } sort keys %$value)
      :                         ();
    return '{' . join(',', map { to_json($_->[0]) . ':' . to_json($_->[1]) } @pairs) . '}'
        if ref $value;
    $value =~ s/(["\\])/\\$1/g;
    $value =~ s/([^\x20-\x7e])/sprintf '\\u%04x', ord $1/ge;
    return "\"$value\"";
}
