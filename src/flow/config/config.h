/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

/*
 * What the README.md of a Space says about it, and the facts around a Space that follow from
 * it alone: names, hardware flavors, environment. Pure: bytes in, values out; the caller
 * reads the file. Results live in the arena that was given; strings are terminated.
 *
 * The fields, their defaults and limits are those of Hugging Face's configuration reference
 * for Spaces, completed by what its server enforces on a push.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/argv.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/source.h"
#include "base/str.h"

/* ---- Findings: everything there is to say about a README, in the order of its lines ---- */

enum finding_level {
	FINDING_NOTE,	 /* tolerated by the Hub and without effect */
	FINDING_WARNING, /* accepted, and probably not what was meant */
	FINDING_ERROR,	 /* the Hub refuses it, or the Space cannot be built */
};

struct space_finding {
	enum finding_level level;
	/*
	 * Stable name of the rule: bad-front-matter, sdk-not-docker, bad-color,
	 * description-too-long, bad-app-port, bad-hardware, ignored-key, bad-value.
	 */
	const char *rule;
	struct span span;
	const char *text;
	const char *remedy; /* "" when there is nothing to add */
};

/* ---- The front matter ---- */

enum space_sdk {
	SPACE_SDK_NONE, /* not given or not known */
	SPACE_SDK_DOCKER,
	SPACE_SDK_GRADIO,
	SPACE_SDK_STREAMLIT,
	SPACE_SDK_STATIC,
};

enum space_header { SPACE_HEADER_DEFAULT, SPACE_HEADER_MINI };

struct space_list {
	const char **items;
	size_t count;
};

/* One entry of custom_headers; both in lower case as the Hub wants them. */
struct space_http_header {
	const char *name, *value;
};

/* One entry of preload_from_hub: repo [file,file…] [commit]. */
struct space_preload {
	const char *repo;
	struct space_list files; /* empty: the whole repository */
	const char *revision;	 /* NULL: main */
};

/* A key of the block and where it stands. */
struct space_key {
	const char *name;
	struct span key, value;
};

/* Text fields that were not given (or given as null) are NULL unless a default is named. */
struct space_config {
	const char *title;
	const char *emoji;
	const char *color_from, *color_to;
	enum space_sdk sdk;
	const char *sdk_version;
	const char *python_version;
	const char *suggested_hardware; /* a flavor; assigns nothing */
	const char *suggested_storage;
	const char *app_file;	       /* "app.py" */
	const char *app_build_command; /* static Spaces only */
	uint64_t app_port;	       /* 7860 */
	const char *base_path;	       /* "/" */
	bool full_width;	       /* true */
	enum space_header header;
	const char *short_description; /* at most 60 UTF-16 units, as the Hub counts */
	struct space_list models, datasets, tags;
	const char *thumbnail;
	bool pinned;
	bool hf_oauth;
	struct space_list hf_oauth_scopes;    /* beside openid and profile */
	uint64_t hf_oauth_expiration_minutes; /* 480 */
	struct space_list hf_oauth_authorized_org;
	bool disable_embedding;
	int64_t startup_duration_timeout; /* nanoseconds; 30 minutes */
	struct space_http_header *custom_headers;
	size_t custom_header_count;
	struct space_preload *preload_from_hub;
	size_t preload_count;
	struct space_list license;

	struct space_key *keys; /* all top-level keys of the block, unknown ones too */
	size_t key_count;

	struct space_finding *findings;
	size_t finding_count, finding_cap;
	size_t error_count; /* of them FINDING_ERROR */
};

/* A README larger than this is refused by whoever reads it. */
enum { SPACE_README_MAX = 4 * 1024 * 1024 };

/*
 * Read the block between the first line, "---", and the next "---". Always fills ret: fields
 * with problems keep their defaults, and what is wrong is in ret->findings. A README without
 * a readable block is one finding.
 */
void space_config_parse(struct arena *a, const struct source *readme, struct space_config *ret);

/*
 * 0 when there is no FINDING_ERROR; else the first of them as an error with place and caret,
 * which says how many more there are.
 */
must_use int space_config_check(
	const struct space_config *config, const struct source *readme, struct err *err);

/* The same, and its sdk must be docker: the only kind of Space that is built here. */
must_use int space_config_require_docker(
	const struct space_config *config, const struct source *readme, struct err *err);

/* One finding as people read it: "README.md:5:11: error: …", excerpt with caret, remedy. */
void space_finding_print(
	const struct space_finding *finding, const struct source *readme, struct buf *ret);

/* Where a key stands, or NULL when the block does not have it. */
const struct space_key *space_config_key(const struct space_config *config, const char *name);

const char *space_sdk_name(enum space_sdk sdk);

/*
 * The lines of the block without its "---" lines, as a slice of text; -ERR_INPUT when there is
 * none. `problem` says why, or (found all the same) what is odd; its text is NULL when there
 * is nothing to say. Its texts are constants.
 */
must_use int space_front_matter(
	const struct source *readme, struct str *ret_block, struct space_finding *problem);

/* ---- Hardware flavors ---- */

struct flavor {
	const char *name;
	unsigned vcpu;
	unsigned ram_gb;
	const char *accelerator; /* "" without: "Nvidia T4" */
	unsigned gpus;
	unsigned vram_gb;      /* of all GPUs together */
	unsigned disk_gb;      /* ephemeral */
	unsigned millidollars; /* price of an hour at Hugging Face, in 1/1000 US dollar */
};

/* The name of the flavor every Space starts with. */
#define FLAVOR_DEFAULT "cpu-basic"

/* All flavors, smallest first; NULL past the end. */
const struct flavor *flavor_at(size_t index);
/* NULL when there is none of that name. */
const struct flavor *flavor_find(struct str name);
/* The same with an error that lists them and suggests the nearest. */
must_use int flavor_parse(struct str name, const struct flavor **ret, struct err *err);

/* ---- Names ---- */

struct space_id {
	const char *owner; /* the namespace: a user or an organisation */
	const char *name;
	const char *text; /* owner/name */
};

/* "owner/name" by the Hub's rule for ids; the error names the broken part of it. */
must_use int space_id_parse(
	struct arena *a, struct str text, struct space_id *ret, struct err *err);
/* A valid repository name made of any text (a folder's name); "space" when nothing is left. */
const char *space_name_from(struct arena *a, struct str text);
/*
 * The DNS label under which a Space answers: owner-name in lower case, everything else than
 * letters and digits made '-'. A label may have 63 bytes: a longer one is cut and ends in
 * eight hex digits of the id's SHA-256. Two ids can have the same label.
 */
const char *space_subdomain(struct arena *a, const struct space_id *id);
/* Keys of variables and secrets: ^[a-zA-Z][_a-zA-Z0-9]*$, at most 256 bytes. */
must_use int space_variable_check(struct str name, struct err *err);

/* ---- Environment ---- */

/*
 * Add the built-in variables of a run to env: ACCELERATOR, CPU_CORES, MEMORY, SPACE_ID,
 * SPACE_AUTHOR_NAME, SPACE_REPO_NAME, SPACE_TITLE, SPACE_HOST, SPACE_CREATOR_USER_ID. Variables
 * that are there already are replaced. `host` is where visitors reach the Space, without a
 * scheme. The creator's id is derived from the owner's name: 24 hex digits, stable. OAUTH_…
 * is not among them: it belongs to whoever provides the sign-in. Without a title SPACE_TITLE
 * is the name.
 */
void space_environment(const struct space_config *config, const struct flavor *flavor,
	const struct space_id *id, const char *host, struct argv *env);

/*
 * An --env-file as docker reads it: NAME=value (the value as it stands, quotes included),
 * NAME alone takes its value from `lookup` and is left out when that returns NULL, lines that
 * start with '#' and empty lines are skipped, blanks before a name too. Later lines win.
 * Adds to env. Errors have the place. lookup may be NULL.
 */
must_use int dotenv_parse(const struct source *file,
	const char *(*lookup)(void *arg, const char *name), void *arg, struct argv *env,
	struct err *err);

#endif
