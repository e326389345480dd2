# An HTTP server for a test (test/support/http_stub.pl), which ends with it.
package HttpStub;

use strict;
use warnings;
use File::Temp qw(tempdir);
use FindBin;
use JSON::PP qw(decode_json);
use PostgreSQL::Test::Utils;
use Time::HiRes qw(usleep);

sub new
{
	my ($class, %options) = @_;
	my $dir = tempdir(CLEANUP => 1);
	my $self = bless { log => "$dir/log", owner => $$ }, $class;
	my $pid = fork() // die "fork: $!";
	if ($pid == 0)
	{
		open(STDOUT, '>', '/dev/null');
		exec $^X, "$FindBin::RealBin/../support/http_stub.pl", '--log', $self->{log},
		  '--port-file', "$dir/port", '--port', $options{port} // 0;
		die "exec: $!";
	}
	$self->{pid} = $pid;
	my $deadline = time() + $PostgreSQL::Test::Utils::timeout_default;
	until (-e "$dir/port")
	{
		die 'the HTTP stub does not start' if time() > $deadline;
		usleep(10_000);
	}
	chomp($self->{port} = slurp_file("$dir/port"));
	return $self;
}

sub url
{
	my ($self, $path) = @_;
	return "http://127.0.0.1:$self->{port}$path";
}

# What came so far, in its order: {n, method, path, headers, body} each. With a path: only these.
sub requests
{
	my ($self, $path) = @_;
	my @all = map { decode_json($_) } split /\n/, slurp_file($self->{log});
	return defined $path ? grep { $_->{path} eq $path } @all : @all;
}

sub DESTROY
{
	my ($self) = @_;
	return unless $self->{owner} == $$ && $self->{pid};
	local $?;
	kill 'TERM', $self->{pid};
	waitpid $self->{pid}, 0;
	return;
}

1;
