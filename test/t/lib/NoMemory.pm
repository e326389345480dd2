# A server in which one allocation of one process finds no memory (test/support/no_memory.cpp).
package NoMemory;

use strict;
use warnings;
use File::Spec;
use PostgreSQL::Test::Utils;
use Sched;

# undef: there is no compiler here.
sub new
{
	my ($class) = @_;
	my $library = build_library('no_memory.cpp') // return;
	my $control = File::Spec->rel2abs(PostgreSQL::Test::Utils::tempdir) . '/control';
	append_to_file($control, pack('l3', 0, 0, 0));
	return bless { library => $library, control => $control }, $class;
}

sub start
{
	my ($self, $node) = @_;
	local @ENV{qw(LD_PRELOAD NO_MEMORY)} = ($self->{library}, $self->{control});
	$node->start;
	return;
}

# Makes the n-th allocation of this process from now on fail; 0: none.
sub fail_at
{
	my ($self, $pid, $allocation) = @_;
	open(my $file, '+<:raw', $self->{control}) or die "$self->{control}: $!";
	syswrite($file, pack('l2', $pid, $allocation));
	close $file;
	return;
}

# How many allocations were made to fail.
sub failed
{
	my ($self) = @_;
	return (unpack 'l3', slurp_file($self->{control}))[2];
}

1;
