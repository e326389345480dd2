# Three servers that Patroni manages, with three members of etcd, on 127.0.0.1 and in one directory.
# Nothing of it is known to the system, and stop() ends all of it.
package Nodes;

use strict;
use warnings;
use File::Temp ();
use HTTP::Tiny;
use IO::Socket::INET;
use JSON::PP qw(decode_json encode_json);
use MIME::Base64 qw(decode_base64 encode_base64);
use POSIX ();
use Time::HiRes qw(sleep time);

# What one server may be silent before another takes its place, in seconds.
use constant TTL => 8;

# new(directory => ..., bindir => ..., synchronous => 0 or 1)
sub new
{
    my ($class, %self) = @_;
    my $self = bless {%self}, $class;
    $self->{http} = HTTP::Tiny->new(timeout => 5);
    # A member of etcd whose disk is slow takes itself for parted from the others.
    my ($memory) = grep { -w } '/dev/shm', $self->{directory};
    $self->{etcd_directory} = File::Temp->newdir('securatlas_etcd.XXXXXX', DIR => $memory);
    my @ports = free_ports(12);
    for my $i (1 .. 3)
    {
        push @{ $self->{etcd} }, { name => "etcd$i", client => shift @ports, peer => shift @ports };
        push @{ $self->{nodes} }, { name => "node$i", port => shift @ports, rest => shift @ports,
            data => "$self->{directory}/node$i" };
    }
    return $self;
}

sub start
{
    my ($self) = @_;
    $self->start_etcd($_) for @{ $self->{etcd} };
    wait_until(sub { defined $self->etcd_leader }, 60, 'etcd elects a leader');
    for my $node (@{ $self->{nodes} })
    {
        write_file("$node->{data}.yml", $self->configuration($node));
        $self->start_patroni($node);
    }
    $self->become_well;
    return;
}

# Ends all processes that belong to it, whatever state they are in.
sub stop
{
    my ($self) = @_;
    for my $node (@{ $self->{nodes} })
    {
        kill_process($node);
        my @pids = server_pids($node) or next;
        kill 'QUIT', $pids[0];
        kill 'CONT', @pids;
        eval { wait_until(sub { !kill(0, $pids[0]) }, 30, 'a server stops'); 1 } or kill 'KILL', @pids;
    }
    kill_process($_) for @{ $self->{etcd} };
    return;
}

# ---- the nodes ---------------------------------------------------------------------------------

# The node that has the leader's lock; undef if none has.
sub leader
{
    my ($self) = @_;
    my $answer = $self->ask_etcd('/v3/kv/range', { key => encode_base64('/service/chaos/leader', '') });
    my $name = decode_base64($answer->{kvs}[0]{value} // '');
    return (grep { $_->{name} eq $name } @{ $self->{nodes} })[0];
}

# The leader once it accepts writes; not the node `other`.
sub wait_for_leader
{
    my ($self, $other) = @_;
    my $leader;
    wait_until(
        sub {
            $leader = $self->leader or return 0;
            return 0 if defined $other && $leader == $other;
            return ($self->ask($leader, 'SELECT NOT pg_is_in_recovery()') // '') eq 't';
        }, 120, 'a node leads' . ($other ? ", other than $other->{name}" : ''));
    return $leader;
}

# Waits until one leads and two follow it. What Patroni has not mended within 40 seconds, and is not
# about to, is mended as an operator would do it.
sub become_well
{
    my ($self) = @_;
    for (1 .. 15)
    {
        return if eval { wait_until(sub { !$self->not_well }, 40, ''); 1 };
        my ($what, $replica) = $self->not_well or return;
        next if $what =~ /creating replica|starting/;
        print "    helped Patroni: $what\n";
        if ($replica)
        {
            $self->{http}->post("http://127.0.0.1:$replica->{rest}/reinitialize", { content => '{"force":true}' });
        }
        elsif (my $leader = $self->leader)
        {
            kill_process($leader);
            $self->start_patroni($leader);
        }
    }
    my ($what) = $self->not_well or return;
    die "three servers do not replicate: $what\n";
}

# What is not as it should be, and the replica that it is about, if it is about one.
sub not_well
{
    my ($self) = @_;
    my $leader = $self->leader or return 'no leader';
    my $cluster = $self->get($leader->{rest}, '/cluster') or return 'Patroni of the leader is silent';
    my %member = map { $_->{name} => $_ } @{ $cluster->{members} // [] };
    my $main = $member{ $leader->{name} };
    return 'the leader does not lead' unless $main && $main->{role} eq 'leader' && defined $main->{timeline};
    for my $node (grep { $_ != $leader } @{ $self->{nodes} })
    {
        my $replica = $member{ $node->{name} } or return "$node->{name} is missing, or starting";
        return ("$node->{name} is $replica->{state}", $node) unless $replica->{state} =~ /^(running|streaming)$/;
        return ("$node->{name} is on another timeline", $node) if ($replica->{timeline} // 0) != $main->{timeline};
    }
    return 'none is synchronous' if $self->{synchronous} && !grep { $_->{role} eq 'sync_standby' } values %member;
    return 'a replica is not connected'
        if ($self->ask($leader, 'SELECT count(*) FROM pg_stat_replication') // '') ne '2';
    return;
}

sub switch_over
{
    my ($self, $leader) = @_;
    my $url = "http://127.0.0.1:$leader->{rest}/switchover";
    my %timeout = (timeout => 60);
    my $answer = HTTP::Tiny->new(%timeout)->post($url, { content => encode_json({ leader => $leader->{name} }) });
    die "switchover: $answer->{status} $answer->{content}\n" unless $answer->{success};
    return;
}

# The postmaster first, then its children.
sub server_pids
{
    my ($node) = @_;
    open(my $file, '<', "$node->{data}/postmaster.pid") or return;
    my ($postmaster) = (readline($file) // '') =~ /^(\d+)/ or return;
    return unless kill 0, $postmaster;
    return ($postmaster, split ' ', `pgrep -P $postmaster`);
}

# The server stops where it is, as a machine does that is suspended. Its Patroni is killed: one that was
# stopped between reading etcd and writing to it takes the lock from the next leader when it goes on, which
# a watchdog would prevent (seen with Patroni 3.0.2).
sub pause_node
{
    my ($node) = @_;
    kill_process($node);
    my ($postmaster) = server_pids($node) or die "$node->{name} has no server\n";
    kill 'STOP', $postmaster;
    kill 'STOP', server_pids($node);
    return;
}

sub resume_server
{
    my ($node) = @_;
    kill 'CONT', server_pids($node);
    return;
}

# Where a client connects to: whichever server is primary, in an order of chance.
sub anywhere
{
    my ($self) = @_;
    my @ports = sort { rand() <=> 0.5 } map { $_->{port} } @{ $self->{nodes} };
    return join ' ', 'host=' . join(',', ('127.0.0.1') x @ports), 'port=' . join(',', @ports),
        'target_session_attrs=primary connect_timeout=2 dbname=postgres';
}

# The result of statements at a node, or at a connection string; undef if it fails or takes longer
# than `seconds`.
sub ask
{
    my ($self, $where, $sql, %option) = @_;
    my $connection = ref $where ? "host=127.0.0.1 port=$where->{port} connect_timeout=2 dbname=postgres" : $where;
    my @command = ('timeout', '-s', 'KILL', $option{seconds} // 10, "$self->{bindir}/psql", '-X', '-q', '-A', '-t',
        '-v', 'ON_ERROR_STOP=1', '-U', $option{user} // 'postgres', '-d', $connection, '-c', $sql);
    my $pid = open(my $out, '-|') // die "fork: $!";
    if ($pid == 0)
    {
        open STDERR, '>>', "$self->{directory}/psql.log";
        exec @command or POSIX::_exit(127);
    }
    local $/;
    my $result = readline($out) // '';
    close $out or return;
    $result =~ s/\n\z//;
    return $result;
}

# ---- Patroni -----------------------------------------------------------------------------------

sub start_patroni
{
    my ($self, $node) = @_;
    $node->{pid} = spawn("$node->{data}.patroni.log", 'patroni', "$node->{data}.yml");
    return;
}

sub configuration
{
    my ($self, $node) = @_;
    my $hosts = join ',', map { "127.0.0.1:$_->{client}" } @{ $self->{etcd} };
    my $synchronous = $self->{synchronous} ? 'true' : 'false';
    my $ttl = TTL;
    # Processes are killed and no machine, so that nothing depends on fsync.
    return <<"YAML";
scope: chaos
name: $node->{name}
restapi: { listen: '127.0.0.1:$node->{rest}', connect_address: '127.0.0.1:$node->{rest}' }
etcd3: { hosts: '$hosts' }
watchdog: { mode: 'off' }
bootstrap:
  initdb: [ { encoding: UTF8 }, { locale: C }, no-sync ]
  dcs:
    ttl: $ttl
    loop_wait: 1
    retry_timeout: 3
    maximum_lag_on_failover: 1000000000
    synchronous_mode: $synchronous
    synchronous_mode_strict: $synchronous
    failsafe_mode: false
    postgresql:
      use_pg_rewind: true
      parameters: { max_connections: 60, max_worker_processes: 40, wal_log_hints: 'on', wal_keep_size: 1GB, max_wal_size: 1GB }
postgresql:
  listen: '127.0.0.1:$node->{port}'
  connect_address: '127.0.0.1:$node->{port}'
  data_dir: $node->{data}
  bin_dir: $self->{bindir}
  pgpass: $node->{data}.pgpass
  authentication:
    superuser: { username: postgres }
    replication: { username: postgres }
    rewind: { username: postgres }
  remove_data_directory_on_rewind_failure: true
  remove_data_directory_on_diverged_timelines: true
  basebackup: [ { checkpoint: fast }, no-sync ]
  parameters:
    shared_preload_libraries: securatlas_sched
    unix_socket_directories: ''
    fsync: 'off'
    autovacuum_naptime: 1
    timezone: UTC
    log_timezone: UTC
    logging_collector: 'off'
  pg_hba: [ 'host all all 127.0.0.1/32 trust', 'host replication all 127.0.0.1/32 trust' ]
YAML
}

sub get
{
    my ($self, $port, $path) = @_;
    my $answer = $self->{http}->get("http://127.0.0.1:$port$path");
    return $answer->{success} ? decode_json($answer->{content}) : undef;
}

# ---- etcd --------------------------------------------------------------------------------------

sub start_etcd
{
    my ($self, $member) = @_;
    my $client = "http://127.0.0.1:$member->{client}";
    my $peer = "http://127.0.0.1:$member->{peer}";
    my $all = join ',', map { "$_->{name}=http://127.0.0.1:$_->{peer}" } @{ $self->{etcd} };
    $member->{pid} = spawn("$self->{directory}/$member->{name}.log", 'etcd', '--name', $member->{name},
        '--data-dir', "$self->{etcd_directory}/$member->{name}", '--initial-cluster', $all,
        '--listen-client-urls', $client, '--advertise-client-urls', $client,
        '--listen-peer-urls', $peer, '--initial-advertise-peer-urls', $peer,
        '--heartbeat-interval', 100, '--election-timeout', 1000, '--log-level', 'warn', '--logger', 'zap');
    return;
}

# The member that leads etcd; undef while none does.
sub etcd_leader
{
    my ($self) = @_;
    for my $member (@{ $self->{etcd} })
    {
        my $status = $self->post_etcd($member, '/v3/maintenance/status', {}) or next;
        return $member if ($status->{leader} // 0) eq $status->{header}{member_id};
    }
    return;
}

# The answer of the first member that has one.
sub ask_etcd
{
    my ($self, $path, $question) = @_;
    for my $member (@{ $self->{etcd} })
    {
        my $answer = $self->post_etcd($member, $path, $question);
        return $answer if $answer;
    }
    return {};
}

sub post_etcd
{
    my ($self, $member, $path, $question) = @_;
    my $answer = $self->{http}->post("http://127.0.0.1:$member->{client}$path", { content => encode_json($question) });
    return $answer->{success} ? decode_json($answer->{content}) : undef;
}

# ---- processes, files, time --------------------------------------------------------------------

sub spawn
{
    my ($log, @command) = @_;
    my $pid = fork() // die "fork: $!";
    return $pid if $pid;
    open STDIN, '<', '/dev/null';
    open STDOUT, '>>', $log;
    open STDERR, '>&', \*STDOUT;
    exec @command or POSIX::_exit(127);
}

# What spawn() started is killed.
sub kill_process
{
    my ($of) = @_;
    my $pid = delete $of->{pid} or return;
    kill 'KILL', $pid;
    waitpid $pid, 0;
    return;
}

# Ports that are free now; all at once, so that they differ.
sub free_ports
{
    my ($count) = @_;
    my @sockets = map { IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1) // die "listen: $!" } 1 .. $count;
    return map { $_->sockport } @sockets;
}

sub write_file
{
    my ($name, $text) = @_;
    open(my $file, '>', $name) or die "$name: $!";
    print $file $text;
    close $file or die "$name: $!";
    return;
}

sub wait_until
{
    my ($condition, $seconds, $what) = @_;
    my $deadline = time() + $seconds;
    until ($condition->())
    {
        die "timed out after $seconds s: $what\n" if time() > $deadline;
        sleep 0.1;
    }
    return;
}

1;
