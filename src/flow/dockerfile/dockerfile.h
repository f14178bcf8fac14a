/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DOCKERFILE_DOCKERFILE_H
#define DOCKERFILE_DOCKERFILE_H

/*
 * The Dockerfile language as BuildKit means it: text → instructions → plan, and the patterns
 * of .dockerignore. Pure: nothing here opens a file, starts a program or asks a registry; what
 * a plan needs of the outside (the configuration of a base image) comes through a callback.
 *
 *	dockerfile_parse()	text to instructions, each word with its place
 *	plan_make()		instructions to stages and steps, everything expanded
 *	expand_word()		$variables, used by plan_make()
 *	lint()			what BuildKit's checks would say of the instructions
 *	patterns_*(), ignore_*()	.dockerignore, COPY --exclude, wildcards of COPY
 *
 * Everything returned lives in the arena that was given, or looks into the source text, which
 * therefore has to live as long. Errors are source_error()s: file, line, column, excerpt.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/source.h"
#include "base/str.h"
#include "oci/oci.h"

enum {
	DOCKERFILE_MAX_SIZE = 4 << 20,
	DOCKERFILE_MAX_LINE = 65535, /* bytes of a physical line, as in BuildKit */
	DOCKERFILE_MAX_INSTRUCTIONS = 100000,
	DOCKERFILE_MAX_STAGES = 1000,
	DOCKERFILE_MAX_HEREDOCS = 1000, /* of one instruction */
	PLAN_MAX_STEPS = 10000,		/* RUN, COPY, ADD and WORKDIR of all needed stages */
	PLAN_MAX_VARIABLES = 4096,	/* ENV and ARG names of one stage */
	PLAN_MAX_MEMORY = 256 << 20,
	EXPAND_MAX_SIZE = 1 << 20, /* of one expanded text */
	EXPAND_MAX_DEPTH = 32,	   /* of ${a:-${b:-…}} */
	IGNORE_MAX_SIZE = 1 << 20,
	IGNORE_MAX_PATTERNS = 10000,
};

/* ---- Text to instructions ---- */

enum instruction_kind {
	INSTRUCTION_ADD,
	INSTRUCTION_ARG,
	INSTRUCTION_CMD,
	INSTRUCTION_COPY,
	INSTRUCTION_ENTRYPOINT,
	INSTRUCTION_ENV,
	INSTRUCTION_EXPOSE,
	INSTRUCTION_FROM,
	INSTRUCTION_HEALTHCHECK,
	INSTRUCTION_LABEL,
	INSTRUCTION_MAINTAINER,
	INSTRUCTION_ONBUILD,
	INSTRUCTION_RUN,
	INSTRUCTION_SHELL,
	INSTRUCTION_STOPSIGNAL,
	INSTRUCTION_USER,
	INSTRUCTION_VOLUME,
	INSTRUCTION_WORKDIR,
	INSTRUCTION_KINDS
};

/* Upper case; "COPY". */
const char *instruction_name(enum instruction_kind kind);

struct word {
	struct str text; /* quotes and escapes still in it, except in JSON form */
	struct span span;
};

/* --name or --name=value: quotes and escapes are gone. */
struct flag {
	struct str name;  /* without the dashes */
	struct str value; /* .p is NULL when there was no '=' */
	struct span span;
};

/* name=value of ENV, LABEL and ARG. */
struct pair {
	struct word name;
	struct word value;
	bool has_value; /* false only for `ARG name` */
	bool old_form;	/* `ENV name the rest of the line` */
};

struct heredoc {
	struct str name;
	struct str body;  /* as written, line feeds included; tabs of <<- still there */
	unsigned fd;	  /* 3<<EOF; 0 when there was none */
	bool expand;	  /* no part of the name was quoted */
	bool strip_tabs;  /* <<- */
	struct span span; /* the word <<NAME */
};

struct instruction {
	enum instruction_kind kind;
	struct span span; /* from its word to its last line, heredoc bodies included */
	struct str text;  /* one line: continuations joined, comments gone, trimmed */
	struct flag *flags;
	size_t flag_count;
	bool json; /* words came from a JSON array */
	/*
	 * ADD, COPY, FROM, EXPOSE, VOLUME: the words. RUN, CMD, ENTRYPOINT, SHELL: the array, or
	 * the whole text as one word (none when empty). HEALTHCHECK: CMD or NONE in the first
	 * word, then as CMD. MAINTAINER, STOPSIGNAL, USER, WORKDIR: the whole text as one word.
	 */
	struct word *words;
	size_t word_count;
	struct pair *pairs; /* ARG, ENV, LABEL */
	size_t pair_count;
	struct heredoc *heredocs; /* RUN, COPY, ADD, in the order of their bodies */
	size_t heredoc_count;
	struct instruction *trigger; /* ONBUILD: what it will run; its text is kept in words[0] */
	unsigned blank_line;	     /* it has blank lines inside: the last of its lines; else 0 */
};

struct dockerfile {
	struct source source;
	char escape;		 /* '\\' or '`' */
	struct str syntax;	 /* value of the syntax directive, "" when there is none */
	struct str check;	 /* the same for check */
	struct span check_span;	 /* where that value stands */
	unsigned directive_line; /* the last line with a directive, 0 when there is none */
	struct instruction *instructions;
	size_t instruction_count;
	size_t stage_count;
};

/*
 * Which frontend is the text for? `# syntax=` among the directives says so, else in the same
 * place `//syntax=`, else a JSON object; a line with #! in front of them does not count. given,
 * unless its .p is NULL, is said instead (BUILDKIT_SYNTAX). Docker's own frontends, whatever
 * their version, are this room: any other is refused by its name (ERR_INPUT).
 */
must_use int dockerfile_check_syntax(
	struct arena *a, const struct source *source, struct str given, struct err *err);

/*
 * Flags are known and complete, and counts of words are right, for all instructions of all
 * stages; values that may hold variables are judged by plan_make(). `ret` keeps a copy of
 * *source (name and text are not copied).
 */
must_use int dockerfile_parse(
	struct arena *a, const struct source *source, struct dockerfile *ret, struct err *err);

/* One instruction alone: the text of an ONBUILD trigger. The escape character is '\\'. */
must_use int dockerfile_parse_trigger(
	struct arena *a, const struct source *source, struct instruction *ret, struct err *err);

/* The flag of that name, or NULL; `after` NULL begins, else continues behind it. */
const struct flag *instruction_flag(
	const struct instruction *ins, const char *name, const struct flag *after);

/* ---- Variables ---- */

enum expand_mode {
	EXPAND_RAW_QUOTES = 1,	/* keep quotes in the result */
	EXPAND_RAW_ESCAPES = 2, /* keep escape characters */
	EXPAND_KEEP_UNSET = 4,	/* leave references to unset variables as written */
	EXPAND_NO_QUOTES = 8,	/* quotes mean nothing: bodies of heredocs */
};

struct expansion {
	char escape;
	unsigned mode; /* of enum expand_mode, or 0 */
	/* The value, or NULL when unset. name is not terminated. */
	const char *(*get)(void *arg, struct str name);
	void *arg;
};

/* For expansion.get with a struct oci_list of NAME=value as its arg. */
const char *expand_get_list(void *list, struct str name);

/*
 * The text with variables replaced and quotes removed. Errors (bad substitution, unclosed
 * quote, ${x?message}, limits) carry no place: the caller knows it.
 */
must_use int expand_word(struct arena *a, const struct expansion *how, struct str text,
	struct str *ret, struct err *err);
/* The same, split on blanks outside of quotes, after replacement. */
must_use int expand_words(struct arena *a, const struct expansion *how, struct str text,
	struct str **ret, size_t *ret_count, struct err *err);

/* ---- Patterns ---- */

/*
 * An ordered list of patterns as in .dockerignore: *, ?, [a-z], [^a-z], \x, **, and a leading
 * '!' for an exception. A path matches a pattern if it or a directory above it does; the last
 * pattern that matches decides. Time is at most pattern length × path length, whatever the
 * pattern. Paths are relative, clean, with '/' between their parts.
 */
struct patterns;

struct patterns *patterns_new(void);
void patterns_free(struct patterns *p);
DEFINE_CLEANUP(struct patterns *, patterns_free);
/* A malformed pattern ("[", "a\", "!") is ERR_INPUT. */
must_use int patterns_add(struct patterns *p, struct str pattern, struct err *err);
size_t patterns_count(const struct patterns *p);
/* Is one of them an exception? */
bool patterns_have_exception(const struct patterns *p);

/* Does the path match (is it ignored)? Looks at the directories above it too. */
bool patterns_match(const struct patterns *p, struct str path);
/*
 * For a walker: the same, given what it learned about the directory above. Both states are
 * arrays of patterns_count() bools; parent is NULL at the top; state is filled in.
 */
bool patterns_match_in(const struct patterns *p, struct str path, const bool *parent, bool *state);
/* May an exception match something below this matching directory? If not, do not descend. */
bool patterns_may_except_below(const struct patterns *p, struct str dir);
/* The other way round: may a pattern that is no exception match something below it? */
bool patterns_may_match_below(const struct patterns *p, struct str dir);

/* The text of a .dockerignore file; name is for errors. Adds to p. */
must_use int ignore_parse(const struct source *source, struct patterns *p, struct err *err);

/*
 * One wildcard pattern against one name, as Go's filepath.Match: '*' and '?' do not match '/'.
 * A malformed pattern matches nothing; wildcard_check() tells them apart.
 */
bool wildcard_match(struct str pattern, struct str name);
must_use int wildcard_check(struct str pattern, struct err *err);
/* Is there an unescaped *, ? or [ in it? */
bool has_wildcard(struct str path);

/* ---- Instructions to plan ---- */

enum plan_source_kind {
	PLAN_CONTEXT, /* 0: the build context, n: plan_options.contexts[n - 1]; after .dockerignore
		       */
	PLAN_SCRATCH, /* an empty tree */
	PLAN_STAGE,   /* plan->stages[index], always an earlier stage */
	PLAN_IMAGE,   /* plan->images[index] */
};

struct plan_source {
	enum plan_source_kind kind;
	size_t index;
};

/* An image from outside, each reference and platform once; all of them are needed. */
struct plan_image {
	const char *name; /* as written, expanded: "python:3.13-slim" */
	struct oci_reference reference;
	struct oci_platform platform;
	bool is_base;	  /* of a stage; else only copied from or mounted */
	struct span span; /* where it is first named */
};

enum plan_mount_kind {
	PLAN_MOUNT_BIND,
	PLAN_MOUNT_CACHE,
	PLAN_MOUNT_TMPFS,
	PLAN_MOUNT_SECRET,
	PLAN_MOUNT_SSH,
};

enum plan_sharing { PLAN_SHARING_SHARED, PLAN_SHARING_PRIVATE, PLAN_SHARING_LOCKED };

struct plan_mount {
	enum plan_mount_kind kind;
	struct plan_source from; /* bind, cache (its first content) */
	const char *target;	 /* absolute, clean; "" for a secret that is only a variable */
	const char *source;	 /* bind, cache: absolute inside `from` */
	const char *id;		 /* cache, secret, ssh; any text: never a path component */
	const char *env;	 /* secret: the variable to set; "" for none */
	enum plan_sharing sharing;
	bool readonly;
	bool required;			 /* secret, ssh: it is an error when it was not given */
	bool has_mode, has_uid, has_gid; /* were written */
	uint32_t mode, uid, gid;	 /* the defaults are filled in */
	uint64_t size;			 /* tmpfs, bytes; 0: no limit of its own */
	struct span span;
};

enum plan_network { PLAN_NETWORK_DEFAULT, PLAN_NETWORK_NONE, PLAN_NETWORK_HOST };

struct plan_file {
	const char *name;
	struct str body;
};

struct plan_run {
	struct oci_list argv; /* with the shell in front in shell form */
	struct oci_list env;  /* NAME=value in order: ENV and ARG in effect, PATH always there */
	struct plan_mount *mounts;
	size_t mount_count;
	enum plan_network network;
	bool insecure;	      /* --security=insecure */
	const char *hostname; /* from BUILDKIT_SANDBOX_HOSTNAME; "" when it says nothing */
	/* A heredoc that begins with #!: to be mounted read-only, 0755, at /dev/pipes/NAME. */
	struct plan_file *script; /* or NULL */
};

enum plan_path_kind { PLAN_PATH, PLAN_URL, PLAN_GIT };

enum plan_switch { PLAN_UNSET, PLAN_OFF, PLAN_ON };

/*
 * A git repository: URL.git#ref:subdir, or URL.git?ref=…&subdir=… (branch, tag, commit, checksum,
 * submodules, keep-git-dir).
 */
struct plan_git {
	const char *url;      /* http, https, git, ssh, or user@host:path; no query, no fragment */
	const char *ref;      /* branch, tag, refs/… or commit; "": the remote's HEAD */
	const char *checksum; /* what the commit has to begin with; "" for nothing */
	const char *subdir;   /* absolute, clean; "/" is all */
	bool is_commit;	      /* ref is a whole commit: nobody has to be asked what it means */
	enum plan_switch submodules, keep_git_dir;
};

/*
 * The source of an ADD that is_git. Texts that git, ssh or a shell could take for something else
 * (a leading '-', ext::, "..") are ERR_INPUT, without a place.
 */
must_use int git_reference_parse(
	struct arena *a, struct str text, struct plan_git *ret, struct err *err);

struct plan_path {
	enum plan_path_kind kind; /* COPY has paths only */
	const char
		*path; /* "/" + clean path inside `from`, perhaps with wildcards; or as written */
	/*
	 * COPY --parents: a pattern of what is taken of the directory `path`, relative to it; ""
	 * is everything. NULL without --parents.
	 */
	const char *keep;
	const char *name;     /* PLAN_URL: of the file */
	struct plan_git *git; /* PLAN_GIT */
	struct span span;
};

struct plan_copy {
	struct plan_source from;
	struct plan_path *sources;
	size_t source_count;
	struct plan_file *files; /* heredocs, expanded */
	size_t file_count;
	const char *dest;  /* absolute, clean */
	bool dest_is_dir;  /* ended in "/" or "/.", or was "." */
	const char *chown; /* "" when not given; expanded */
	const char *chmod; /* "" when not given; expanded, valid for mode_apply() */
	bool link, parents;
	bool has_epoch; /* SOURCE_DATE_EPOCH was given: seconds since 1970, */
	uint64_t epoch; /* the time of modification of all that is copied */
	enum plan_switch unpack, keep_git_dir; /* ADD */
	const char *checksum;		       /* ADD; "" when not given */
	struct oci_list excludes;	       /* patterns, as written */
};

/* A source from elsewhere as people may see it: no user, no password, no query, no fragment. */
void remote_print(const struct plan_path *path, struct buf *ret);

enum plan_op_kind { PLAN_META, PLAN_RUN, PLAN_COPY, PLAN_ADD, PLAN_WORKDIR };

struct plan_op {
	enum plan_op_kind kind;
	enum instruction_kind instruction;
	struct span span;	/* in the Dockerfile; for a trigger of a base image: its FROM */
	const char *title;	/* "COPY --chown=user . ." in one line, for the log */
	const char *created_by; /* the history entry's text; NULL for ONBUILD, which has none */
	bool is_trigger;	/* runs because of an ONBUILD of the base */
	unsigned number;	/* in its stage, from 1; 0 for PLAN_META, which is not counted */
	const char *user;	/* "" is root */
	const char *workdir;	/* absolute; PLAN_WORKDIR: the directory to make, owned by user */
	struct plan_run *run;	/* PLAN_RUN */
	struct plan_copy *copy; /* PLAN_COPY, PLAN_ADD */
	/*
	 * Of all others: what was written, expanded. ENV, LABEL and ARG: NAME=value, ARG without
	 * a value: NAME. CMD, ENTRYPOINT: with the shell. HEALTHCHECK: the test. EXPOSE: each port.
	 */
	struct oci_list arguments;
};

struct plan_stage {
	const char *name;	 /* lower case; "" when it has none */
	const char *label;	 /* for the log: its name, or "stage-1"; "" when it is alone */
	bool needed;		 /* only needed stages have ops and a config */
	struct plan_source base; /* PLAN_SCRATCH, PLAN_STAGE or PLAN_IMAGE */
	const char *base_name;	 /* expanded text of FROM */
	struct oci_platform platform;
	struct span span; /* of its FROM */
	struct plan_op *ops;
	size_t op_count;
	unsigned step_count; /* the 9 of "3/9", as BuildKit counts: FROM an image is one */
	/*
	 * The result. Its history has the base's entries and one for each op; diff_ids are the
	 * base's alone: the executor adds its own, one for each step. The image, and what is
	 * added to its history, has a time of creation only with SOURCE_DATE_EPOCH.
	 */
	struct oci_config config;
};

struct plan_warning {
	const char *text;
	struct span span; /* line 0: of no place */
};

struct plan {
	struct plan_stage *stages;
	size_t stage_count;
	size_t target; /* index of the stage that is the result */
	struct plan_image *images;
	size_t image_count;
	/*
	 * HTTP_PROXY=… and its kin from the build arguments, in both cases: for the environment
	 * of RUN where it does not set them itself; never part of a key or of the history.
	 */
	struct oci_list proxy_args;
	struct plan_warning *warnings;
	size_t warning_count;
};

/* --build-context: what takes the place of the stage or image of that name, wherever it is named.
 */
struct plan_context {
	const char *name;
	const char *image; /* a reference; NULL: a directory */
};

struct plan_options {
	struct str target;		   /* name or index; empty: the last stage */
	const struct oci_list *build_args; /* NAME=value, the last of a name wins; or NULL */
	const struct plan_context *contexts;
	size_t context_count;
	struct oci_platform build_platform;  /* this machine */
	struct oci_platform target_platform; /* of the image; empty os: as build_platform */
	/*
	 * The configuration of an image that a needed stage starts from; asked at most once for
	 * each. What it returns is copied before the next call.
	 */
	int (*resolve)(
		void *arg, const struct plan_image *image, struct oci_config *ret, struct err *err);
	void *arg;
};

must_use int plan_make(struct arena *a, const struct dockerfile *file,
	const struct plan_options *options, struct plan *ret, struct err *err);

/* ---- Checks ---- */

/*
 * The rules of BuildKit's linter, by their names and with their texts: see
 * https://docs.docker.com/reference/build-checks/. Nothing is asked of a registry: what the
 * base of a stage sets is known as far as `base` tells. In a stage of an unknown base a variable
 * counts as undefined only when its name is close to a defined one or has small letters, which
 * the variables of images have not.
 */
struct lint_finding {
	const char *rule;	 /* "JSONArgsRecommended" */
	const char *description; /* of the rule */
	const char *url;	 /* of the rule; "" when it has none */
	const char *text;	 /* what it says of this place */
	struct span span;
};

struct lint_options {
	/* What BUILDKIT_DOCKERFILE_CHECK says, instead of the directive; .p NULL: not given. */
	struct str check;
	const struct oci_list *build_args; /* as in plan_options */
	struct oci_platform build_platform, target_platform;
	const struct patterns *ignore; /* of the context; or NULL */
	/*
	 * The stages that are built: rules on what instructions do look at no other. NULL: all,
	 * as for a check without a target.
	 */
	const struct plan *plan;
	/* The configuration of an image by its name in FROM; false: not known. May be NULL. */
	bool (*base)(void *arg, const char *name, struct oci_config *ret);
	void *arg;
};

struct lint {
	struct lint_finding *findings; /* in the order of their lines */
	size_t count;
	bool fails; /* there are some, and error=true makes the build fail */
};

/* Fails (ERR_INPUT) only when the check options are malformed. */
must_use int lint(struct arena *a, const struct dockerfile *file,
	const struct lint_options *options, struct lint *ret, struct err *err);

/* "[stage-1 3/9] RUN uv sync", the trigger's mark included. */
void plan_op_print(const struct plan_stage *stage, const struct plan_op *op, struct buf *ret);

/*
 * A --chmod applied to a mode: octal replaces it, symbolic ("u=rwX,go=rX") changes it. Only
 * the low 12 bits count. False when the text is malformed.
 */
bool mode_apply(struct str chmod, uint32_t mode, bool is_dir, uint32_t *ret);

#endif
