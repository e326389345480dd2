# The extension in a directory of its own, as an extension image brings it, found by
# extension_control_path and dynamic_library_path: a job runs and a request is sent with the two
# libraries from there.
use strict;
use warnings;
use File::Copy qw(copy);
use File::Path qw(make_path);
use File::Temp qw(tempdir);
use FindBin;
use lib "$FindBin::RealBin/lib";
use HttpStub;
use Sched;
use PostgreSQL::Test::Utils qw(append_to_file slurp_file);
use Test::More;

my ($major) = `pg_config --version` =~ /(\d+)/;
plan skip_all => "PostgreSQL $major has no extension_control_path, 18 has" if $major < 18;

my $node = new_node('image');
my $image = tempdir(CLEANUP => 1) . '/securatlas_sched';
my ($libraries, $scripts) = ($node->config_data('--pkglibdir'), $node->config_data('--sharedir') . '/extension');
make_path("$image/lib", "$image/share/extension");
copy($_, "$image/lib/") or die "$_: $!" for glob "$libraries/securatlas_sched*.so";
copy($_, "$image/share/extension/") or die "$_: $!" for glob "$scripts/securatlas_sched*";
# Another comment tells the control file of the image from the server's.
my $control = slurp_file("$image/share/extension/securatlas_sched.control");
$control =~ s/^comment = .*$/comment = 'the one of the image'/m;
unlink("$image/share/extension/securatlas_sched.control");
append_to_file("$image/share/extension/securatlas_sched.control", $control);

# The image's directories come first, because the server has the extension in its own, too.
$node->append_conf('postgresql.conf', "extension_control_path = '$image/share:\$system'");
$node->append_conf('postgresql.conf', "dynamic_library_path = '$image/lib:\$libdir'");
$node->start;
install($node);
is($node->safe_psql('postgres', q{SELECT obj_description(oid, 'pg_extension') FROM pg_extension
	WHERE extname = 'securatlas_sched'}), 'the one of the image', 'CREATE EXTENSION takes the control file of the image');
is($node->safe_psql('postgres', q{SELECT DISTINCT probin FROM pg_proc WHERE probin ~ 'securatlas'}),
	'$libdir/securatlas_sched', 'and functions do not know where the library is');

my $stub = HttpStub->new;
$node->safe_psql('postgres', "SELECT cron.schedule('posts', '1 second', \$\$SELECT net.http_post('"
	  . $stub->url('/hold') . "')\$\$)");
wait_for($node, q{SELECT EXISTS (SELECT FROM cron.job_run_details WHERE status = 'succeeded')}, 't', 'a job runs');
wait_until(sub { return scalar $stub->requests('/hold') }, 'and its request arrives');

# The libraries of a process, by path.
sub loaded_by
{
	my ($pid) = @_;
	my %seen = map { $_ => 1 } slurp_file("/proc/$pid/maps") =~ m{(/\S*/securatlas_sched\w*\.so)$}mg;
	return join(' ', sort keys %seen);
}
my ($worker) = our_pids($node, 'http worker');
is(loaded_by($worker), "$image/lib/securatlas_sched.so $image/lib/securatlas_sched_http.so",
	'the http worker has both libraries of the image');
is(loaded_by($node->{_pid}), "$image/lib/securatlas_sched.so", 'the postmaster has the one without libcurl');

done_testing();
