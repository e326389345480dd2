#!/usr/bin/perl
# Lets servers that Patroni manages fail over under load, in every way, and looks after each whether
# everything is as promised. scripts/chaos failover starts it.
#
#   failover.pl --directory DIR --bindir DIR [--minutes N] [--seed N] [--synchronous] [--only FAULT]
#
# 200 jobs insert a row each second, half of them with `missed => all` and half with `skip`; a client
# makes 200 requests a second to a receiver that writes down what arrives; a watcher remembers which
# runs a server has shown as succeeded. Ends with 0 if no promise was broken.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Getopt::Long;
use Nodes;
use POSIX ();
use Time::HiRes qw(sleep time);

use constant JOBS => 200;
use constant REQUESTS_A_SECOND => 200;

my %option = (minutes => 10, seed => time() % 100_000);
GetOptions(\%option, 'directory=s', 'bindir=s', 'minutes=f', 'seed=i', 'synchronous', 'only=s')
    && defined $option{directory} && defined $option{bindir} or die "wrong options\n";
my $directory = $option{directory};
my $synchronous = $option{synchronous} // 0;
srand $option{seed};
local $| = 1;

my $nodes = Nodes->new(directory => $directory, bindir => $option{bindir}, synchronous => $synchronous);
my $receiver_log = "$directory/received.log";
my ($port) = Nodes::free_ports(1);
my $self = $$;
my @helpers;
$SIG{TERM} = $SIG{INT} = sub { die "interrupted\n" };
END
{
    if ($$ == $self)
    {
        my $status = $?;
        kill 'KILL', @helpers;
        $nodes->stop if $nodes;
        $? = $status;
    }
}

# ---- the faults --------------------------------------------------------------------------------

# Each gets the leader, induces the fault, waits until a node leads and removes what is left of it.
my %faults = (
    'server killed' => sub {
        my ($leader) = @_;
        kill 'KILL', (Nodes::server_pids($leader))[0];
        $nodes->wait_for_leader;
    },
    'Patroni killed' => sub {
        # Its server goes on without knowing that it is no leader any more.
        my ($leader) = @_;
        Nodes::kill_process($leader);
        $nodes->wait_for_leader($leader);
        sleep 2;
        $nodes->start_patroni($leader);
    },
    'node killed' => sub {
        my ($leader) = @_;
        Nodes::kill_process($leader);
        kill 'KILL', (Nodes::server_pids($leader))[0];
        $nodes->wait_for_leader($leader);
        $nodes->start_patroni($leader);
    },
    'etcd killed' => sub {
        my $member = $nodes->etcd_leader // return;
        Nodes::kill_process($member);
        Nodes::wait_until(sub { $nodes->etcd_leader }, 60, 'etcd elects another leader');
        $nodes->wait_for_leader;
        $nodes->start_etcd($member);
    },
    'node paused' => sub {
        my ($leader) = @_;
        Nodes::pause_node($leader);
        $nodes->wait_for_leader($leader);
        # For two seconds it does not know that it is no leader any more.
        Nodes::resume_server($leader);
        sleep 2;
        $nodes->start_patroni($leader);
    },
    'switchover' => sub {
        my ($leader) = @_;
        $nodes->switch_over($leader);
        $nodes->wait_for_leader($leader);
    });
my @order = ('server killed', 'Patroni killed', 'node paused', 'switchover', 'etcd killed', 'node killed');
# The first one is of chance, so that short trials see all of them.
push @order, shift @order for 1 .. $option{seed} % @order;
@order = ($option{only}) if defined $option{only};
die "no such fault; there are: @{[ join ', ', sort keys %faults ]}\n" if grep { !$faults{$_} } @order;

# ---- the load ----------------------------------------------------------------------------------

sub install
{
    my $leader = $nodes->wait_for_leader;
    my $sql = sub { $nodes->ask($leader, @_) // die "it cannot be installed: see psql.log\n" };
    $sql->('CREATE EXTENSION securatlas_sched');
    $sql->(q{
        CREATE ROLE app LOGIN;
        GRANT USAGE ON SCHEMA cron, net TO app;
        GRANT CREATE ON SCHEMA public TO app});
    my $effect = q{INSERT INTO public.effects (jobid, scheduled_at)
        SELECT current_setting('cron.job_id')::bigint, current_setting('cron.scheduled_at')::timestamptz};
    $sql->("CREATE TABLE effects (jobid bigint, scheduled_at timestamptz, at timestamptz DEFAULT clock_timestamp());
        CREATE TABLE made (n bigint PRIMARY KEY, request bigint NOT NULL);
        SELECT count(cron.schedule('job ' || n, '1 second', \$c\$$effect\$c\$)) FROM generate_series(1, ${\JOBS}) n;
        SELECT count(cron.configure_job('job ' || n, overlap_policy => 'buffer_all', catchup_window => '1 hour',
               missed => CASE n % 2 WHEN 0 THEN 'all' ELSE 'skip' END)) FROM generate_series(1, ${\JOBS}) n",
        user => 'app');
    return;
}

# Runs `turn` every `pause` seconds in a process of its own.
sub start_helper
{
    my ($pause, $turn) = @_;
    my $pid = fork() // die "fork: $!";
    if ($pid == 0)
    {
        $SIG{TERM} = $SIG{INT} = 'DEFAULT';
        srand($option{seed} + $$);
        while (1)
        {
            $turn->();
            sleep $pause;
        }
    }
    push @helpers, $pid;
    return $pid;
}

# Makes requests, and writes down which of them were committed for certain. No number is used twice,
# so that no two transactions can have made the same request.
sub request_maker
{
    my ($n, $last) = (0, time());
    open(my $file, '>>', "$directory/committed") or die "committed: $!";
    $file->autoflush(1);
    return sub {
        my $count = int((time() - $last) * REQUESTS_A_SECOND);
        $count = REQUESTS_A_SECOND if $count > REQUESTS_A_SECOND;
        return unless $count;
        $last = time();
        my ($from, $to) = ($n + 1, $n + $count);
        $n = $to;
        my $result = $nodes->ask($nodes->anywhere, "INSERT INTO made
            SELECT n, net.http_post('http://127.0.0.1:$port/made/' || n, '{}') FROM generate_series($from, $to) n",
            user => 'app', seconds => 5);
        print $file "$from $to\n" if defined $result;
    };
}

# Remembers each run that a server has shown as succeeded.
sub watcher
{
    my %seen;
    open(my $file, '>>', "$directory/seen") or die "seen: $!";
    $file->autoflush(1);
    return sub {
        my $rows = $nodes->ask($nodes->anywhere, "SELECT jobid || E'\\t' || scheduled_at
            FROM cron.job_run_details WHERE status = 'succeeded' AND start_time > now() - interval '3 seconds'",
            seconds => 5);
        my $new = join '', map { $seen{$_}++ ? '' : "$_\n" } split /\n/, $rows // '';
        print $file $new;
    };
}

# ---- what is looked at -------------------------------------------------------------------------

my (%key_of, %number_of, %arrivals);    # by number, by key, by number
my $log_position = 0;
my @broken;

sub broken { push @broken, @_; print "    BROKEN: $_\n" for @_; return }

# What has arrived since the last time. A request has one key, and no other has the same.
sub read_arrivals
{
    open(my $log, '<', $receiver_log) or return;
    seek $log, $log_position, 0;
    while (my $line = <$log>)
    {
        last unless $line =~ /\n\z/;
        $log_position = tell $log;
        my ($n) = $line =~ m{"path":"/made/(\d+)"} or next;
        my ($key) = $line =~ /"idempotency-key":"([^"]*)"/;
        $key //= '';
        $arrivals{$n}++;
        broken("request $n came with two keys") if ($key_of{$n} //= $key) ne $key;
        broken("requests $n and $number_of{$key} have one key") if ($number_of{$key} //= $n) != $n;
    }
    return;
}

# Statements at the leader; one that it cannot answer is repeated, for it may be another soon.
sub ask_leader
{
    my ($sql) = @_;
    my $result;
    Nodes::wait_until(
        sub {
            my $leader = $nodes->leader or return 0;
            $result = $nodes->ask($leader, $sql, seconds => 60);
            return defined $result;
        }, 180, 'the leader answers');
    return $result;
}

# Polls until `condition` is true; else the promise is broken.
sub becomes_true
{
    my ($promise, $condition) = @_;
    eval { Nodes::wait_until($condition, 60, $promise); 1 } or broken("$promise: not within 60 s");
    return;
}

# Runs and effects are in one transaction, so that one snapshot of both can be looked at any time.
sub check_runs
{
    my $wrong = ask_leader(q{
        SELECT 'effect twice', jobid, scheduled_at FROM effects GROUP BY 2, 3 HAVING count(*) > 1
        UNION ALL
        SELECT 'succeeded twice', jobid, scheduled_at FROM cron.job_run_details
         WHERE status = 'succeeded' GROUP BY 2, 3 HAVING count(*) > 1
        UNION ALL
        SELECT CASE WHEN e.jobid IS NULL THEN 'success without effect' ELSE 'effect without success' END,
               COALESCE(d.jobid, e.jobid), COALESCE(d.scheduled_at, e.scheduled_at)
          FROM (SELECT jobid, scheduled_at FROM cron.job_run_details WHERE status = 'succeeded') d
          FULL JOIN effects e USING (jobid, scheduled_at) WHERE d.jobid IS NULL OR e.jobid IS NULL
         LIMIT 20});
    broken(split /\n/, $wrong);
    my $last;
    becomes_true('cron.check_invariants() is empty', sub {
        $last = ask_leader(q{SELECT v FROM cron.check_invariants('20 seconds') v LIMIT 5});
        return $last eq '';
    });
    broken(split /\n/, $last);
    return;
}

my $arrived_to = 0;    # All requests up to this one that are committed have arrived.

sub check_requests
{
    my $made = ask_leader("SELECT n FROM made WHERE n > $arrived_to ORDER BY n");
    my @made = split /\n/, $made;
    my @missing;
    becomes_true('each committed request has arrived', sub {
        read_arrivals();
        @missing = grep { !$arrivals{$_} } @made;
        return !@missing;
    });
    broken(scalar(@missing) . " committed requests have not arrived, the first is $missing[0]") if @missing;
    $arrived_to = $made[-1] if @made;
    return;
}

# What was shown is still there, and what was sent is committed. Without synchronous replication
# both may be lost by a promotion: the numbers are returned.
sub count_lost
{
    read_arrivals();
    my $seen = "$directory/seen.now";
    system('cp', "$directory/seen", $seen) == 0 or die 'cp';
    # A line that is being written has no end yet.
    system('sed', '-i', '$ { /\t.*[^0-9]$/d }', $seen);
    my $arrived = "$directory/arrived.now";
    Nodes::write_file($arrived, join '', map { "$_\n" } sort { $a <=> $b } keys %arrivals);
    my $committed = "$directory/committed.now";
    open(my $file, '<', "$directory/committed") or die "committed: $!";
    Nodes::write_file($committed, join '', map { my ($from, $to) = split; map { "$_\n" } $from .. $to }
        grep { /\n\z/ } <$file>);
    my $counts = ask_leader(qq{
        CREATE TEMP TABLE seen (jobid bigint, scheduled_at timestamptz);
        CREATE TEMP TABLE arrived (n bigint);
        CREATE TEMP TABLE committed (n bigint);
        COPY seen FROM '$seen';
        COPY arrived FROM '$arrived';
        COPY committed FROM '$committed';
        SELECT (SELECT count(*) FROM seen s WHERE NOT EXISTS (
                       SELECT FROM effects e WHERE (e.jobid, e.scheduled_at) = (s.jobid, s.scheduled_at))),
               (SELECT count(*) FROM arrived a WHERE NOT EXISTS (SELECT FROM made m WHERE m.n = a.n)),
               (SELECT count(*) FROM committed c WHERE NOT EXISTS (SELECT FROM made m WHERE m.n = c.n)),
               (SELECT count(*) FROM seen)});
    return split /\|/, $counts;
}

sub check_lost
{
    my ($runs, $sent, $committed, $seen) = count_lost();
    if ($synchronous)
    {
        broken("$runs runs that were shown as succeeded are gone") if $runs;
        broken("$sent requests were sent and are not committed") if $sent;
        broken("$committed requests were committed and are gone") if $committed;
    }
    return ($runs, $sent, $committed, $seen);
}

# At the end, when nothing is in progress: jobs with `missed => all` have left out nothing.
sub check_complete
{
    ask_leader('SELECT count(cron.pause(jobid)) FROM cron.job');
    becomes_true('runs end', sub {
        ask_leader("SELECT count(*) FROM cron.job_run_details WHERE status IN ('starting', 'running')") eq '0';
    });
    my $incomplete = ask_leader(q{
        SELECT j.jobname || ' lacks ' || extract(epoch FROM max(scheduled_at) - min(scheduled_at)) + 1 - count(*)
          FROM effects JOIN cron.job j USING (jobid) WHERE j.missed = 'all' GROUP BY j.jobname
        HAVING extract(epoch FROM max(scheduled_at) - min(scheduled_at)) + 1 <> count(*)});
    broken(split /\n/, $incomplete);
    return;
}

# ---- the way through it ------------------------------------------------------------------------

sub say { print "==> @_\n"; return }

say(($synchronous ? 'Synchronous' : 'Asynchronous') . " replication, $option{minutes} minutes, seed $option{seed}");
$nodes->start;
push @helpers, Nodes::spawn("$directory/receiver.out", $^X, "$FindBin::RealBin/../support/http_stub.pl",
    '--port', $port, '--log', $receiver_log);
install();
my $maker = start_helper(0.1, request_maker());
my $watcher = start_helper(0.5, watcher());
Nodes::wait_until(sub { -s "$directory/seen" && -s "$directory/committed" && -s $receiver_log }, 60, 'there is load');

my ($end, %times) = (time() + 60 * $option{minutes});
for (my $i = 0; time() < $end; $i++)
{
    my $fault = $order[$i % @order];
    my $leader = $nodes->wait_for_leader;
    my $from = time();
    $faults{$fault}->($leader);
    my $now = $nodes->wait_for_leader;
    my $led = time();
    $nodes->become_well;
    my $well = time();
    check_runs();
    check_requests();
    check_lost();
    $times{$fault}++;
    printf "    %-14s %s -> %s, %.0f s; three servers after %.0f s, all looked at after %.0f s\n", $fault,
        $leader->{name}, $now->{name}, $led - $from, $well - $from, time() - $from;
    last if @broken;
}

kill 'TERM', $maker;
waitpid $maker, 0;
check_complete();
check_runs();
check_requests();
my ($runs, $sent, $committed, $seen) = check_lost();
my $figures = ask_leader(q{
    SELECT (SELECT timeline_id - 1 FROM pg_control_checkpoint()),
           (SELECT round(extract(epoch FROM max(gap)), 1) FROM (
                   SELECT at - lag(at) OVER (ORDER BY at) AS gap FROM effects) g),
           (SELECT count(*) FROM effects),
           (SELECT sum(missing)::int FROM (
                   SELECT extract(epoch FROM max(scheduled_at) - min(scheduled_at)) + 1 - count(*) AS missing
                     FROM effects JOIN cron.job j USING (jobid) WHERE j.missed = 'skip' GROUP BY jobid) m)});
my ($promotions, $gap, $effects, $missed) = split /\|/, $figures;
my $repeated = grep { $_ > 1 } values %arrivals;
printf "==> %s; %d promotions\n", join(', ', map { "$times{$_} x $_" } grep { $times{$_} } @order), $promotions;
print "    $effects runs succeeded, longest gap without a run $gap s, $missed occurrences missed by rule\n";
printf "    %d requests arrived, %d of them more than once\n", scalar keys %arrivals, $repeated;
print "    lost by promotions: $runs of $seen runs that were seen as succeeded, $committed committed requests; "
    . "$sent requests were sent whose commit was lost\n";
print @broken ? "    PROMISES BROKEN: " . scalar(@broken) . "\n" : "    all is as promised\n";
exit(@broken ? 1 : 0);
