/* SPDX-License-Identifier: Apache-2.0 */
#include "settings/internal.h"

#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#define GIB  (UINT64_C(1) << 30)
#define HOUR INT64_C(3600000000000)

const char *caller_variable(struct arena *a, const struct settings_caller *caller, const char *name)
{
	size_t n = strlen(name);

	for (char *const *e = caller->env; e && *e; e++)
		if (strncmp(*e, name, n) == 0 && (*e)[n] == '=' && (*e)[n + 1])
			return arena_strdup(a, *e + n + 1);
	return NULL;
}

const char *caller_home(struct arena *a, const struct settings_caller *caller)
{
	const char *home = caller_variable(a, caller, "HOME");

	if (home && home[0] == '/')
		return home;
	const struct passwd *entry = getpwuid(caller->uid);
	return entry && entry->pw_dir && entry->pw_dir[0] == '/' ? arena_strdup(a, entry->pw_dir)
								 : NULL;
}

/* As the XDG base directory specification says, a relative path in a variable is ignored. */
static const char *base_directory(struct arena *a, const struct settings_caller *caller,
	const char *variable, const char *below_home)
{
	const char *dir = caller_variable(a, caller, variable);

	if (dir && dir[0] == '/')
		return dir;
	const char *home = below_home ? caller_home(a, caller) : NULL;
	return home ? arena_printf(a, "%s/%s", home, below_home) : NULL;
}

bool is_readable_file(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) &&
	       faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) == 0;
}

const char *find_file(struct arena *a, const struct settings_caller *caller, bool *ret_named)
{
	const char *named = caller_variable(a, caller, "SPACEPORT_CONFIG");
	const char *dir = caller->uid == 0
				  ? caller->etc
				  : base_directory(a, caller, "XDG_CONFIG_HOME", ".config");

	*ret_named = named != NULL;
	if (named)
		return named;
	return dir ? arena_printf(a, "%s/spaceport/spaceport.yaml", dir) : NULL;
}

/* ---- Before ---- */

static const char *proxy(
	struct arena *a, const struct settings_caller *caller, const char *lower, const char *upper)
{
	const char *value = caller_variable(a, caller, lower);

	return value ? value : caller_variable(a, caller, upper);
}

void set_defaults(struct loader *l)
{
	const struct settings_caller *caller = l->caller;
	const char *dir = caller->uid == 0 ? "/var/lib"
					   : base_directory(l->arena, caller, "XDG_DATA_HOME",
						     ".local/share");

	*l->settings = (struct settings){
		.data = dir ? arena_printf(l->arena, "%s/spaceport", dir) : NULL,
		.runtime = "crun",
		.http_proxy = proxy(l->arena, caller, "http_proxy", "HTTP_PROXY"),
		.https_proxy = proxy(l->arena, caller, "https_proxy", "HTTPS_PROXY"),
		.no_proxy = proxy(l->arena, caller, "no_proxy", "NO_PROXY"),
		.build = {.memory = 8 * GIB,
			.pids = 4096,
			.timeout = HOUR,
			.fetch_size = 8 * GIB,
			.fetch_keep = 4 * GIB,
			.tool_cache = true},
		.store = {.budget = {.percent = 20}, .cache_budget = {.percent = 10}},
		.network = SETTINGS_NETWORK_PASTA,
	};
}

/* ---- After ---- */

static const char *find_credentials(struct arena *a, const struct settings_caller *caller)
{
	static const struct {
		const char *variable, *below_home, *file;
	} places[] = {
		{"DOCKER_CONFIG", NULL, "config.json"},
		{"", ".docker", "config.json"},
		{"XDG_RUNTIME_DIR", NULL, "containers/auth.json"},
	};

	for (size_t i = 0; i < array_size(places); i++) {
		const char *dir =
			base_directory(a, caller, places[i].variable, places[i].below_home);
		const char *path = dir ? arena_printf(a, "%s/%s", dir, places[i].file) : NULL;
		if (path && is_readable_file(path))
			return path;
	}
	return NULL;
}

/* Where distributions keep the bundle, below /etc. */
static const char *find_bundle(struct arena *a, const char *etc)
{
	static const char *const places[] = {
		"ssl/certs/ca-certificates.crt",		/* Debian, Alpine, Arch */
		"pki/ca-trust/extracted/pem/tls-ca-bundle.pem", /* Fedora, RHEL */
		"pki/tls/certs/ca-bundle.crt",			/* older ones of them */
		"ssl/ca-bundle.pem",				/* openSUSE */
		"ssl/cert.pem",
	};

	for (size_t i = 0; i < array_size(places); i++) {
		const char *path = arena_printf(a, "%s/%s", etc, places[i]);
		if (is_readable_file(path))
			return path;
	}
	return NULL;
}

static const char *none_to_null(const char *text)
{
	return text && text[0] ? text : NULL;
}

void drop_nones(struct settings *settings)
{
	settings->ca_bundle = none_to_null(settings->ca_bundle);
	settings->http_proxy = none_to_null(settings->http_proxy);
	settings->https_proxy = none_to_null(settings->https_proxy);
	settings->no_proxy = none_to_null(settings->no_proxy);
}

int fill_defaults(struct loader *l, struct err *err)
{
	struct settings *s = l->settings;
	const char *named = caller_variable(l->arena, l->caller, "SSL_CERT_FILE");

	if (!s->data) {
		(void)err_set(err, ERR_INPUT, "no place for the state directory: HOME is not set");
		return err_hint(err, "set HOME or SPACEPORT_DATA");
	}
	if (!s->ca_bundle && named && !is_readable_file(named)) {
		(void)err_set(
			err, ERR_INPUT, "SSL_CERT_FILE: %s is not a file that can be read", named);
		return err_hint(err, "correct or unset it, or set ca_bundle in spaceport.yaml");
	}
	if (!s->ca_bundle)
		s->ca_bundle = named ? named : find_bundle(l->arena, l->caller->etc);
	if (!s->credentials)
		s->credentials = find_credentials(l->arena, l->caller);
	drop_nones(s);
	return 0;
}
