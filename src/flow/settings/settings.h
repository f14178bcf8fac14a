/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SETTINGS_SETTINGS_H
#define SETTINGS_SETTINGS_H

/*
 * The operator's configuration: spaceport.yaml, environment, defaults. man/spaceport.yaml.5.scd
 * is its manual and must say what this says.
 *
 * The file is $SPACEPORT_CONFIG, else /etc/spaceport/spaceport.yaml for root and
 * $XDG_CONFIG_HOME/spaceport/spaceport.yaml (~/.config) for everybody else. It may be absent
 * unless SPACEPORT_CONFIG names it. Every scalar key can be set by the environment as well,
 * which wins: SPACEPORT_DATA, SPACEPORT_BUILD_MEMORY, … (the key in upper case, nested keys
 * joined by '_'). Unknown keys are errors.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"

struct settings_list {
	const char **items;
	size_t count;
};

/* registries: NAME: one registry and how it is reached. */
struct settings_registry {
	const char *name;	      /* "docker.io", "ghcr.io", "registry.lan:5000"; lower case */
	struct settings_list mirrors; /* URLs, asked in this order before the registry itself */
	bool insecure;		      /* plain HTTP and unverified TLS are allowed for it */
};

enum settings_network {
	SETTINGS_NETWORK_PASTA, /* egress through pasta */
	SETTINGS_NETWORK_NONE,	/* no network in builds and Spaces */
};

enum { SETTINGS_MAX_PARALLEL = 64 };

/* What steps of builds may ask for only when somebody allows it. */
enum settings_allowed {
	SETTINGS_ALLOW_HOST_NETWORK = 1, /* network.host: RUN --network=host */
	SETTINGS_ALLOW_INSECURE = 2,	 /* security.insecure: RUN --security=insecure */
};

enum settings_fetching {
	SETTINGS_FETCH_AS_STEPS, /* through the network that steps of builds have */
	SETTINGS_FETCH_AS_HOST,	 /* through the host's own, its loopback included */
};

/* How much of something: bytes, or a share of the disk that holds the state directory. */
struct settings_share {
	unsigned percent; /* 1 to 100; 0: bytes count */
	uint64_t bytes;	  /* UINT64_MAX: as much as there is */
};

struct settings {
	/* The file that was read; NULL when there was none. */
	const char *file;

	/* data: state directory. Default $SPACEPORT_DATA, else /var/lib/spaceport (root),
	 * $XDG_DATA_HOME/spaceport or ~/.local/share/spaceport. Absolute. */
	const char *data;

	/* registries: a mapping of names; "name: URL" is short for one mirror */
	struct settings_registry *registries;
	size_t registry_count;

	/* credentials: a docker-style config.json. Default: the first that exists of
	 * $DOCKER_CONFIG/config.json, ~/.docker/config.json,
	 * $XDG_RUNTIME_DIR/containers/auth.json. NULL: none. */
	const char *credentials;

	/* runtime: the OCI runtime, a name in PATH or an absolute path. Default crun. */
	const char *runtime;

	/* subids: "base:count", the host's range of user and group ids that root maps into
	 * containers. count 0: not set, a free range is chosen. */
	uint32_t subid_base, subid_count;

	/* ca_bundle: certificates that builds and Spaces shall trust. Default: $SSL_CERT_FILE,
	 * else the distribution's bundle. NULL: none found, or "none" was written. */
	const char *ca_bundle;

	/* http_proxy, https_proxy, no_proxy: passed into builds and Spaces. Default: the
	 * variables of that name, lower case first. NULL: none, or "none" was written. */
	const char *http_proxy, *https_proxy, *no_proxy;

	/* dns: addresses of name servers. Empty: the host's. */
	struct settings_list dns;

	/* build: limits of one build. 0 means no limit. */
	struct {
		unsigned allow;	     /* allow: of enum settings_allowed. Default: nothing */
		uint64_t memory;     /* memory: bytes. Default 8GiB */
		unsigned milli_cpus; /* cpus: in 1/1000 CPU. Default: no limit */
		uint64_t pids;	     /* pids: processes and threads. Default 4096 */
		int64_t timeout;     /* timeout: nanoseconds for the whole build. Default 1h */
		uint64_t parallel;   /* parallel: stages made at the same time. 0, the default:
					as many as there are CPUs, and at least 2 */
		/* What ADD fetches: the largest file, what is kept of all, and how. */
		uint64_t fetch_size;		      /* fetch_size: bytes. Default 8GiB */
		uint64_t fetch_keep;		      /* fetch_keep: bytes. Default 4GiB */
		enum settings_fetching fetch_network; /* fetch_network: build (default) or host */
		bool tool_cache; /* tool_cache: keep caches of uv, pip, npm. Default true */
	} build;

	/* store: what it keeps without being asked to. */
	struct {
		/* budget: of layers that no named image needs. Default 20% */
		struct settings_share budget;
		/* cache_budget: of caches of build steps. Default 10% */
		struct settings_share cache_budget;
	} store;

	/* network: pasta (default) or none */
	enum settings_network network;
};

/* Who asks: what a process knows about itself. */
struct settings_caller {
	char *const *env; /* NAME=value, NULL-terminated */
	uid_t uid;
	const char *etc; /* "/etc"; where the file of root and the distribution's bundles are */
};

/* This process. */
struct settings_caller settings_caller_self(void);

/*
 * Find, read and check the configuration. Everything in ret lives in the arena. Errors carry
 * name, line and column of the file, or the name of the variable.
 */
must_use int settings_load(struct arena *a, const struct settings_caller *caller,
	struct settings *ret, struct err *err);

/*
 * Set one scalar key, as a flag of the command line does: "data", "build.memory". Relative
 * paths are taken from the working directory.
 */
must_use int settings_set(struct arena *a, struct settings *settings, const char *key,
	const char *value, struct err *err);

/* "network.host": its bit of enum settings_allowed, 0 for what is none. */
unsigned settings_allowed(struct str name);

/* The entry of a registry ("docker.io"), or NULL. */
const struct settings_registry *settings_registry(
	const struct settings *settings, const char *name);

/*
 * The state directory, made if it is missing: mode 0711 for root (containers' users must
 * pass through it), 0700 otherwise. It must belong to the caller and be writable by nobody
 * else. Returns an O_DIRECTORY descriptor, or < 0.
 */
must_use int settings_open_data(const struct settings *settings, struct err *err);

#endif
