/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/argv.h"
#include "base/str.h"
#include "os/dir.h"
#include "os/file.h"
#include "settings/settings.h"

/* A place of its own for each test: HOME, and /etc for root. */
static char place[] = "/tmp/test-settings-XXXXXX";
static int place_fd = -1;

static int make_place(void **state)
{
	(void)state;
	snprintf(place, sizeof(place), "/tmp/test-settings-XXXXXX");
	if (!mkdtemp(place))
		return -1;
	place_fd = open(place, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return place_fd < 0 ? -1 : 0;
}

static int remove_place(void **state)
{
	cleanup_close int tmp = open("/tmp", O_PATH | O_DIRECTORY | O_CLOEXEC);

	(void)state;
	close(place_fd);
	return dir_remove_tree(tmp, strrchr(place, '/') + 1, NULL);
}

static void write_file(const char *path, const char *text)
{
	cleanup_free char *parent = xstrndup(path, (size_t)(strrchr(path, '/') - path));
	cleanup_close int dir = dir_make_all(place_fd, parent, 0755, NULL, NULL);

	assert_true(dir >= 0);
	assert_int_equal(file_replace(dir, strrchr(path, '/') + 1, str_of(text), 0644, NULL), 0);
}

/* The configuration of user 1000 with this environment and $HOME/.config/….yaml. */
static int load_as(struct arena *a, uid_t uid, const char *text, const char *const *env,
	struct settings *ret, struct err *err)
{
	cleanup(argv_done) struct argv all = {0};
	char etc[64];

	argv_printf(&all, "HOME=%s", place);
	for (; env && *env; env++)
		argv_add(&all, *env);
	if (text)
		write_file("./.config/spaceport/spaceport.yaml", text);
	snprintf(etc, sizeof(etc), "%s/etc", place);
	struct settings_caller caller = {.env = all.items, .uid = uid, .etc = etc};
	return settings_load(a, &caller, ret, err);
}

/* The path below the place. */
static const char *below(struct arena *a, const char *path)
{
	return arena_printf(a, "%s/%s", place, path);
}

static void nothing_given_means_defaults(void **state)
{
	cleanup(arena_done) struct arena a = {0};
	struct settings s = {0};

	(void)state;
	assert_int_equal(load_as(&a, 1000, NULL, NULL, &s, NULL), 0);
	assert_null(s.file);
	assert_string_equal(s.data, below(&a, ".local/share/spaceport"));
	assert_string_equal(s.runtime, "crun");
	assert_int_equal(s.registry_count, 0);
	assert_null(s.credentials);
	assert_null(s.ca_bundle);
	assert_null(s.http_proxy);
	assert_int_equal(s.subid_count, 0);
	assert_int_equal(s.dns.count, 0);
	assert_true(s.build.memory == UINT64_C(8589934592));
	assert_int_equal(s.build.milli_cpus, 0);
	assert_int_equal(s.build.pids, 4096);
	assert_true(s.build.timeout == INT64_C(3600000000000));
	assert_int_equal(s.build.parallel, 0);
	assert_int_equal(s.build.allow, 0);
	assert_int_equal(s.store.budget.percent, 20);
	assert_int_equal(s.store.cache_budget.percent, 10);
	assert_int_equal(s.network, SETTINGS_NETWORK_PASTA);
	assert_int_equal(load_as(&a, 0, NULL, NULL, &s, NULL), 0);
	assert_string_equal(s.data, "/var/lib/spaceport");
}

static const char every_key[] = "data: /srv/spaces/\n"
				"registries:\n"
				"  docker.io:\n"
				"    mirror: [http://127.0.0.1:5000/, https://m.lan/hub]\n"
				"  ghcr.io: http://127.0.0.1:5000\n"
				"  registry.lan:5000: {insecure: true}\n"
				"credentials: ~/auth.json\n"
				"runtime: /usr/sbin/runc\n"
				"subids: 2000000:131072\n"
				"ca_bundle: ~/ca.pem\n"
				"http_proxy: http://proxy:3128\n"
				"https_proxy: none\n"
				"no_proxy: localhost,.lan\n"
				"dns: [1.1.1.1, '2606:4700::1111']\n"
				"build: {memory: 2GiB, cpus: 1.5, pids: none, timeout: 30m, "
				"parallel: 3, allow: [network.host, security.insecure]}\n"
				"store: {budget: 3GiB, cache_budget: none}\n"
				"network: none\n";

static void assert_groups(const struct settings *s)
{
	assert_true(s->build.memory == UINT64_C(2147483648));
	assert_int_equal(s->build.milli_cpus, 1500);
	assert_int_equal(s->build.pids, 0);
	assert_true(s->build.timeout == INT64_C(1800000000000));
	assert_int_equal(s->build.parallel, 3);
	assert_int_equal(s->build.allow, SETTINGS_ALLOW_HOST_NETWORK | SETTINGS_ALLOW_INSECURE);
	assert_int_equal(s->store.budget.percent, 0);
	assert_true(s->store.budget.bytes == UINT64_C(3221225472));
	assert_true(s->store.cache_budget.bytes == UINT64_MAX);
}

static void every_key_is_read(void **state)
{
	cleanup(arena_done) struct arena a = {0};
	struct settings s = {0};
	struct err err = {0};

	(void)state;
	write_file("./ca.pem", "x");
	write_file("./auth.json", "{}");
	assert_int_equal(load_as(&a, 1000, every_key, NULL, &s, &err), 0);
	assert_string_equal(s.file, below(&a, ".config/spaceport/spaceport.yaml"));
	assert_string_equal(s.data, "/srv/spaces");
	assert_int_equal(s.registry_count, 3);
	const struct settings_registry *hub = settings_registry(&s, "docker.io");
	assert_int_equal(hub->mirrors.count, 2);
	assert_string_equal(hub->mirrors.items[0], "http://127.0.0.1:5000");
	assert_string_equal(hub->mirrors.items[1], "https://m.lan/hub");
	assert_false(hub->insecure);
	assert_string_equal(
		settings_registry(&s, "ghcr.io")->mirrors.items[0], "http://127.0.0.1:5000");
	assert_true(settings_registry(&s, "registry.lan:5000")->insecure);
	assert_null(settings_registry(&s, "quay.io"));
	assert_string_equal(s.credentials, below(&a, "auth.json"));
	assert_string_equal(s.runtime, "/usr/sbin/runc");
	assert_int_equal(s.subid_base, 2000000);
	assert_int_equal(s.subid_count, 131072);
	assert_string_equal(s.ca_bundle, below(&a, "ca.pem"));
	assert_string_equal(s.http_proxy, "http://proxy:3128");
	assert_null(s.https_proxy);
	assert_string_equal(s.no_proxy, "localhost,.lan");
	assert_int_equal(s.dns.count, 2);
	assert_string_equal(s.dns.items[1], "2606:4700::1111");
	assert_groups(&s);
	assert_int_equal(s.network, SETTINGS_NETWORK_NONE);
}

static const struct {
	const char *text, *error, *hint;
} mistakes[] = {
	{"dta: /x\n", "1:1: unknown key \"dta\"", "did you mean data?"},
	{"zzz: 1\n", "1:1: unknown key \"zzz\"", "the keys are listed in spaceport.yaml(5)"},
	{"bild: {}\n", "1:1: unknown key \"bild\"", "did you mean build?"},
	{"registry: {}\n", "1:1: unknown key \"registry\"", "did you mean registries?"},
	{"build: {memroy: 1g}\n", "1:9: unknown key \"build.memroy\"",
		"did you mean build.memory?"},
	{"build.memory: 1g\n", "1:1: build.memory is a nested key", "write it below its group"},
	{"store:\n  budget: 0%\n", "2:11: store.budget: \"0%\" is not a percentage from 1% to 100%",
		""},
	{"store:\n  budget: 101%\n",
		"2:11: store.budget: \"101%\" is not a percentage from 1% to 100%", ""},
	{"store:\n  budget: much\n", "2:11: store.budget: \"much\" is not a size", "50GiB"},
	{"store: {budgte: 1g}\n", "1:9: unknown key \"store.budgte\"",
		"did you mean store.budget?"},
	{"stor: {}\n", "1:1: unknown key \"stor\"", "did you mean store?"},
	{"store.budget: 1g\n", "1:1: store.budget is a nested key", "store: {budget: 50GiB}"},
	{"build: 8GiB\n", "1:8: build must be a mapping, not a text", ""},
	{"- data\n", "1:1: the file is a list, not a mapping of keys to values", ""},
	{"data: x/y\n", "1:7: data: \"x/y\" is not an absolute path", ""},
	{"data: /\n", "1:7: data: \"/\" cannot be used", ""},
	{"data: [/x]\n", "1:7: data must be one value, not a list", ""},
	{"credentials: /nowhere/auth.json\n",
		"1:14: credentials: /nowhere/auth.json is not a file that can be read", ""},
	{"ca_bundle: /\n", "1:12: ca_bundle: \"/\" cannot be used", ""},
	{"runtime: ''\n", "1:10: runtime must be the name or the path of a program", ""},
	{"runtime: ./crun\n", "1:10: runtime: \"./crun\" is not an absolute path", ""},
	{"subids: 100000\n", "1:9: subids: \"100000\" is not a range of ids", "2000000:65536"},
	{"subids: 100000:1000\n", "1:9: subids: 1000 ids are too few; images use ids up to 65535",
		""},
	{"subids: 1000:65536\n",
		"1:9: subids: the range must lie between 65536 and 4294967294, clear of the host's own users",
		""},
	{"subids: 4294900000:70000\n",
		"1:9: subids: the range must lie between 65536 and 4294967294, clear of the host's own users",
		""},
	{"http_proxy: a b\n", "1:13: http_proxy: a blank in the address", ""},
	{"dns: 1.1.1.1\n", "1:6: dns must be a list of addresses, not a text", ""},
	{"dns: [one]\n", "1:7: dns: \"one\" is not an IP address", ""},
	{"dns: [[x]]\n", "1:7: dns: an address cannot be a list", ""},
	{"build:\n  memory: lots\n", "2:11: build.memory: \"lots\" is not a size", "512MiB"},
	{"build:\n  memory: 8\n", "2:11: build.memory: 8 bytes are too little for any build",
		"8GiB"},
	{"build:\n  cpus: -1\n", "2:9: build.cpus: \"-1\" is not a number of CPUs", "1.5"},
	{"build:\n  cpus: 1.2345\n", "2:9: build.cpus: \"1.2345\" is not a number of CPUs", "1.5"},
	{"build:\n  pids: x\n", "2:9: build.pids: \"x\" is not a number up to 4194304", ""},
	{"build:\n  allow: [all]\n",
		"2:10: build.allow: \"all\" is not one of network.host or security.insecure", ""},
	{"build:\n  allow: [[network.host]]\n", "2:11: build.allow must be a list of words", ""},
	{"build:\n  parallel: 65\n", "2:13: build.parallel: \"65\" is not a number up to 64", ""},
	{"build:\n  timeout: 30\n", "2:12: build.timeout: \"30\" is not a duration", "30m"},
	{"network: host\n", "1:10: network: \"host\" is not one of pasta or none", ""},
	{"registries: x\n", "1:13: registries must be a mapping of names, not a text", ""},
	{"registries:\n  hub: x\n", "2:3: \"hub\" is not the name of a registry", "docker.io"},
	{"registries:\n  Docker.io: x\n", "2:3: \"Docker.io\" is not the name of a registry", ""},
	{"registries:\n  docker.io: 127.0.0.1:5000\n",
		"2:14: the mirror of docker.io does not begin with http:// or https://",
		"http://host:port"},
	{"registries:\n  docker.io: http://\n", "2:14: the mirror of docker.io names no host", ""},
	{"registries:\n  docker.io: {mirror: [http://a:b@c]}\n",
		"2:24: the mirror of docker.io holds a user name or password; those belong into the credentials file",
		""},
	{"registries:\n  docker.io: {mirror: http://a?b}\n",
		"2:23: the mirror of docker.io has a query or a fragment", ""},
	{"registries:\n  docker.io: {mirrors: []}\n",
		"2:15: unknown key \"mirrors\" of registry docker.io", "did you mean mirror?"},
	{"registries:\n  docker.io: {insecure: yes}\n",
		"2:25: insecure of docker.io must be true or false", ""},
	{"registries:\n  docker.io: []\n",
		"2:14: registry docker.io must be a mapping or an address, not a list", ""},
	{"registries:\n  docker.io: {}\n  index.docker.io: {}\n",
		"3:3: index.docker.io is another name of docker.io, which is there already", ""},
	{"data: /x\ndata: /y\n", "2:1: the key \"data\" is there twice, first on line 1", ""},
	{"\tdata: /x\n", "1:1: a tab is used as indentation", "spaces"},
};

static void mistakes_have_a_place(void **state)
{
	cleanup(arena_done) struct arena a = {0};
	struct settings s = {.file = "untouched"};

	(void)state;
	for (size_t i = 0; i < array_size(mistakes); i++) {
		struct err err = {0};
		assert_int_equal(load_as(&a, 1000, mistakes[i].text, NULL, &s, &err), -ERR_INPUT);
		assert_string_equal(
			err.text, arena_printf(&a, "%s/.config/spaceport/spaceport.yaml:%s", place,
					  mistakes[i].error));
		if (!strstr(err.hint, mistakes[i].hint))
			assert_string_equal(err.hint, mistakes[i].hint);
		assert_null(strstr(err.hint, "a:b@")); /* a password is not shown */
		assert_string_equal(s.file, "untouched");
	}
}

static void variables_win_over_the_file(void **state)
{
	static const char *const env[] = {"SPACEPORT_DATA=/other", "SPACEPORT_BUILD_MEMORY=1g",
		"SPACEPORT_BUILD_CPUS=", "SPACEPORT_HTTP_PROXY=none", "SPACEPORT_NETWORK=none",
		"http_proxy=http://a", "HTTP_PROXY=http://b", "HTTPS_PROXY=http://c", NULL};
	static const char *const bad[] = {"SPACEPORT_BUILD_TIMEOUT=soon", NULL};
	static const char *const relative[] = {"SPACEPORT_DATA=state", NULL};
	cleanup(arena_done) struct arena a = {0};
	struct settings s = {0};
	struct err err = {0};

	(void)state;
	static const char text[] = "data: /x\nbuild: {memory: 2g, cpus: 2}\n";
	assert_int_equal(load_as(&a, 1000, text, env, &s, &err), 0);
	assert_string_equal(s.data, "/other");
	assert_int_equal(s.build.memory, 1 << 30);
	assert_int_equal(s.build.milli_cpus, 2000);
	assert_null(s.http_proxy);
	assert_string_equal(s.https_proxy, "http://c");
	assert_int_equal(s.network, SETTINGS_NETWORK_NONE);
	assert_int_equal(load_as(&a, 1000, text, bad, &s, &err), -ERR_INPUT);
	assert_string_equal(
		err.text, "SPACEPORT_BUILD_TIMEOUT: build.timeout: \"soon\" is not a duration");
	assert_int_equal(load_as(&a, 1000, text, relative, &s, &err), 0);
	assert_true(s.data[0] == '/' && str_ends(str_of(s.data), STR("/state")));
}

static void flags_win_over_all(void **state)
{
	cleanup(arena_done) struct arena a = {0};
	struct settings s = {0};
	struct err err = {0};

	(void)state;
	assert_int_equal(load_as(&a, 1000, "http_proxy: http://x\n", NULL, &s, &err), 0);
	assert_int_equal(settings_set(&a, &s, "data", "/flag", &err), 0);
	assert_string_equal(s.data, "/flag");
	assert_int_equal(settings_set(&a, &s, "http_proxy", "none", &err), 0);
	assert_null(s.http_proxy);
	assert_int_equal(settings_set(&a, &s, "build.memory", "x", &err), -ERR_INPUT);
	assert_string_equal(err.text, "build.memory: \"x\" is not a size");
	assert_int_equal(settings_set(&a, &s, "build.memry", "1g", &err), -ERR_INPUT);
	assert_string_equal(err.text, "unknown key \"build.memry\"");
	assert_string_equal(err.hint, "did you mean build.memory?");
	assert_int_equal(settings_set(&a, &s, "registries", "x", &err), -ERR_INPUT);
}

static void the_file_is_where_the_caller_says(void **state)
{
	cleanup(arena_done) struct arena a = {0};
	struct settings s = {0};
	struct err err = {0};

	(void)state;
	write_file("./etc/spaceport/spaceport.yaml", "data: /root\n");
	write_file("./xdg/spaceport/spaceport.yaml", "data: /xdg\n");
	write_file("./named.yaml", "data: /named\n");
	const char *xdg[] = {arena_printf(&a, "XDG_CONFIG_HOME=%s/xdg", place),
		arena_printf(&a, "XDG_DATA_HOME=%s/d", place), NULL};
	const char *named[] = {arena_printf(&a, "SPACEPORT_CONFIG=%s/named.yaml", place), NULL};
	const char *missing[] = {arena_printf(&a, "SPACEPORT_CONFIG=%s/none.yaml", place), NULL};
	const char *folder[] = {arena_printf(&a, "SPACEPORT_CONFIG=%s", place), NULL};
	const char *rel[] = {"XDG_CONFIG_HOME=relative", "XDG_DATA_HOME=relative", NULL};
	assert_int_equal(load_as(&a, 0, "data: /home\n", NULL, &s, &err), 0);
	assert_string_equal(s.data, "/root");
	assert_int_equal(load_as(&a, 1000, NULL, NULL, &s, &err), 0);
	assert_string_equal(s.data, "/home");
	assert_int_equal(load_as(&a, 1000, NULL, xdg, &s, &err), 0);
	assert_string_equal(s.data, "/xdg");
	assert_int_equal(load_as(&a, 1000, NULL, rel, &s, &err), 0);
	assert_string_equal(s.data, "/home");
	assert_int_equal(load_as(&a, 1000, NULL, named, &s, &err), 0);
	assert_string_equal(s.data, "/named");
	assert_int_equal(load_as(&a, 1000, NULL, missing, &s, &err), -ERR_INPUT);
	assert_string_equal(err.text,
		arena_printf(&a, "SPACEPORT_CONFIG: read %s/none.yaml: No such file or directory",
			place));
	assert_int_equal(load_as(&a, 1000, NULL, folder, &s, &err), -ERR_INPUT);
	assert_int_equal(err_exit_code(&err), 2);
}

static void defaults_are_found_on_the_host(void **state)
{
	cleanup(arena_done) struct arena a = {0};
	struct settings s = {0};
	struct err err = {0};

	(void)state;
	write_file("./etc/ssl/certs/ca-certificates.crt", "x");
	write_file("./run/containers/auth.json", "{}");
	const char *run[] = {arena_printf(&a, "XDG_RUNTIME_DIR=%s/run", place), NULL};
	assert_int_equal(load_as(&a, 1000, NULL, run, &s, &err), 0);
	assert_string_equal(s.ca_bundle, below(&a, "etc/ssl/certs/ca-certificates.crt"));
	assert_string_equal(s.credentials, below(&a, "run/containers/auth.json"));
	write_file("./.docker/config.json", "{}");
	assert_int_equal(load_as(&a, 1000, NULL, run, &s, &err), 0);
	assert_string_equal(s.credentials, below(&a, ".docker/config.json"));
	write_file("./dc/config.json", "{}");
	const char *docker[] = {arena_printf(&a, "DOCKER_CONFIG=%s/dc", place),
		arena_printf(&a, "SSL_CERT_FILE=%s/dc/config.json", place), NULL};
	assert_int_equal(load_as(&a, 1000, NULL, docker, &s, &err), 0);
	assert_string_equal(s.credentials, below(&a, "dc/config.json"));
	assert_string_equal(s.ca_bundle, below(&a, "dc/config.json"));
	assert_int_equal(load_as(&a, 1000, "ca_bundle: none\n", docker, &s, &err), 0);
	assert_null(s.ca_bundle);
	static const char *const gone[] = {"SSL_CERT_FILE=/nowhere/x.pem", NULL};
	assert_int_equal(load_as(&a, 1000, "data:\n", gone, &s, &err), -ERR_INPUT);
	assert_string_equal(
		err.text, "SSL_CERT_FILE: /nowhere/x.pem is not a file that can be read");
}

static void the_state_directory_is_ours_alone(void **state)
{
	cleanup(arena_done) struct arena a = {0};
	struct settings s = {.data = below(&a, "var/lib/state")};
	struct err err = {0};
	struct stat st;

	(void)state;
	cleanup_close int fd = settings_open_data(&s, &err);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 07777, geteuid() == 0 ? 0711 : 0700);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	cleanup_close int file = openat(fd, "x", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(file >= 0);
	assert_int_equal(fchmod(fd, 0733), 0);
	assert_int_equal(settings_open_data(&s, &err), -ERR_INPUT);
	assert_non_null(strstr(err.text, "can be written by other users (mode 0733)"));
	assert_int_equal(fchmod(fd, 0500), 0);
	cleanup_close int again = settings_open_data(&s, &err);
	assert_true(again >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 07777, geteuid() == 0 ? 0711 : 0700);
	s.data = below(&a, "var/lib/state/x");
	assert_true(settings_open_data(&s, &err) < 0);
	assert_non_null(strstr(err.text, "state directory "));
}

static void another_users_state_is_refused(void **state)
{
	cleanup(arena_done) struct arena a = {0};
	struct settings s = {.data = "/usr/share"}; /* another user's when we are not root */
	const char *expected = "belongs to user 0, not to user ";
	struct err err = {0};

	(void)state;
	if (geteuid() == 0) {
		s.data = below(&a, "other");
		expected = "belongs to user 1234, not to user 0";
		assert_int_equal(mkdir(s.data, 0700), 0);
		assert_int_equal(chown(s.data, 1234, 1234), 0);
	}
	assert_int_equal(settings_open_data(&s, &err), -ERR_INPUT);
	assert_non_null(strstr(err.text, expected));
	assert_non_null(strstr(err.hint, "SPACEPORT_DATA"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			nothing_given_means_defaults, make_place, remove_place),
		cmocka_unit_test_setup_teardown(every_key_is_read, make_place, remove_place),
		cmocka_unit_test_setup_teardown(mistakes_have_a_place, make_place, remove_place),
		cmocka_unit_test_setup_teardown(
			variables_win_over_the_file, make_place, remove_place),
		cmocka_unit_test_setup_teardown(flags_win_over_all, make_place, remove_place),
		cmocka_unit_test_setup_teardown(
			the_file_is_where_the_caller_says, make_place, remove_place),
		cmocka_unit_test_setup_teardown(
			defaults_are_found_on_the_host, make_place, remove_place),
		cmocka_unit_test_setup_teardown(
			the_state_directory_is_ours_alone, make_place, remove_place),
		cmocka_unit_test_setup_teardown(
			another_users_state_is_refused, make_place, remove_place),
	};

	return cmocka_run_group_tests_name("settings", tests, NULL, NULL);
}
