/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DOCKERFILE_PLANNER_H
#define DOCKERFILE_PLANNER_H

/*
 * The making of a plan, in this order:
 *
 *	args.c		the global scope: ARG before FROM, platforms, proxies
 *	contexts.c	named contexts, which take the place of stages and images
 *	epoch.c		SOURCE_DATE_EPOCH
 *	stages.c	names, bases and platforms of all stages; the target
 *	reference.c	what --from and from= mean; cycles
 *	needs.c		from the target down: which stages and images, what their bases trigger
 *	plan.c		the needed stages one after the other, each instruction by its handler:
 *	config.c port.c	those that only change the configuration
 *	run.c mount.c	RUN
 *	copy.c mode.c	COPY and ADD
 *	remote.c	URLs and git repositories
 *	support.c	what the executor cannot do yet
 */
#include "dockerfile/internal.h"
#include "dockerfile/table.h"

/* ---- The planner ---- */

/* An instruction to be carried out, and where it came from. */
struct command {
	const struct source *source; /* what spans of ins are places in */
	const struct instruction *ins;
	bool is_trigger;
	struct span span; /* of the op, in the Dockerfile */
};

/* A stage on its way to being a plan_stage. */
struct draft {
	const struct instruction *from;
	const struct instruction *body; /* up to the next FROM */
	size_t body_count;
	bool is_replaced; /* a named context has taken its place */
	struct command *triggers;
	size_t trigger_count;
	/* While it is carried out: */
	struct table env;  /* what variables expand to and RUN sees: ENV and ARG */
	struct table args; /* declared ARGs of this stage and its parents */
	struct table config_env, labels, ports, volumes;
	struct oci_list run_env; /* of the last RUN; the next shares it while env is the same */
	bool env_changed;
	bool has_cmd; /* an own CMD has been seen */
	size_t history_cap, op_cap;
};

struct base_image {
	bool resolved;
	struct oci_config config;
};

struct planner {
	struct arena *arena;
	size_t arena_used; /* before */
	const struct dockerfile *file;
	const struct plan_options *options;
	struct plan *plan;
	struct table build_args;
	bool has_epoch; /* SOURCE_DATE_EPOCH */
	uint64_t epoch;
	const char *created; /* the same in words, or "" */
	struct table globals;
	struct table declared; /* names of every ARG of the file */
	struct map *contexts;  /* full name → place in options->contexts, from 1 */
	bool *context_used;
	struct map *names;  /* lower case stage name → the last stage of that name, from 1 */
	struct map *images; /* name and platform → place in plan->images, from 1 */
	struct base_image *bases; /* as plan->images */
	struct draft *drafts;	  /* as plan->stages */
	size_t image_cap, base_cap, warning_cap;
	size_t step_count;
	struct oci_platform target_platform;
};

/* The error of a command, at one of its spans. */
int command_error(struct err *err, enum err_kind kind, const struct command *c, struct span span,
	const char *fmt, ...) printf_like(5, 6);
void plan_warn(struct planner *p, struct span span, const char *fmt, ...) printf_like(3, 4);

/* Number the op as a step of the stage, unless it only changes the configuration. */
void plan_number_step(struct planner *p, struct plan_stage *stage, struct plan_op *op);

/* Expand one word in the stage's environment. */
must_use int command_expand(struct planner *p, struct draft *d, const struct command *c,
	struct word word, struct str *ret, struct err *err);

/* ---- args.c ---- */

must_use int args_init(struct planner *p, struct err *err);
void args_warn_unused(struct planner *p);
/* Does the name of a variable sound like that of a secret? */
bool is_secret_name(struct str name);

/* ---- epoch.c ---- */

must_use int epoch_init(struct planner *p, struct err *err);

/* ---- contexts.c ---- */

void contexts_init(struct planner *p);
/* Index of the context that stands for the stage or image of this name, from 1; 0: none does. */
size_t context_find(struct planner *p, struct str name);
void contexts_warn_unused(struct planner *p);
/* A stage that starts from a directory: its first step copies it. */
void context_add_step(struct planner *p, size_t stage);

/* ---- stages.c ---- */

/* A copy with the letters A to Z in lower case. */
const char *lower_case(struct arena *a, struct str text);
must_use int stages_init(struct planner *p, struct err *err);
must_use int stages_find_target(struct planner *p, struct err *err);

/* ---- reference.c ---- */

enum reference_kind { REFERENCE_STAGE, REFERENCE_SCRATCH, REFERENCE_IMAGE, REFERENCE_CONTEXT };

/*
 * What a --from or from= means: which stage (perhaps a later one), which named context (from
 * 1), or an image's name.
 */
must_use int reference_find(struct planner *p, const struct command *c, struct word text,
	enum reference_kind *ret, size_t *ret_index, struct err *err);
/* Call fn for each reference of an instruction. Stops at the first result that is not 0. */
typedef int reference_fn(void *arg, const struct command *c, struct word text, struct err *err);
must_use int references_each(
	struct planner *p, const struct command *c, reference_fn *fn, void *arg, struct err *err);
/* No stage may need itself, whether it is needed or not. */
must_use int references_check_cycles(struct planner *p, struct err *err);
/* The same as a source for the stage; a stage has to be an earlier one. */
must_use int reference_source(struct planner *p, size_t stage, const struct command *c,
	struct word text, struct plan_source *ret, struct err *err);

/* ---- needs.c ---- */

must_use int needs_mark(struct planner *p, struct err *err);
/* The index of the image in the plan, added when it is new. */
must_use int image_add(struct planner *p, const struct command *c, struct word name,
	const struct oci_platform *platform, size_t *ret, struct err *err);

/* ---- Handlers of instructions: config.c, args.c, port.c, run.c, copy.c ---- */

/*
 * Carries the command out on the stage and fills the op's created_by, and run or copy. kind,
 * span, user and workdir are there already.
 */
typedef int handler_fn(struct planner *p, size_t stage, const struct command *c, struct plan_op *op,
	struct err *err);

handler_fn config_arg, config_cmd, config_entrypoint, config_env, config_expose, config_healthcheck,
	config_label, config_maintainer, config_onbuild, config_shell, config_stopsignal,
	config_user, config_volume, config_workdir, run_step, copy_step;

/* The words of the instruction as arguments; with the shell in front in shell form. */
struct oci_list command_argv(struct planner *p, size_t stage, const struct command *c);
/* SHELL in force, or /bin/sh -c, and the text. */
struct oci_list shell_argv(struct planner *p, size_t stage, struct str text);
/* The name of a heredoc that becomes a file must be one name. */
must_use int check_file_name(const struct command *c, const struct heredoc *h, struct err *err);

/* ---- remote.c: sources of ADD that are elsewhere ---- */

bool is_url(struct str source);
bool is_git(struct str source);
/* Fills what belongs to the path's kind, PLAN_URL or PLAN_GIT. */
must_use int remote_source(struct planner *p, const struct command *c, struct span span,
	struct str text, struct plan_path *path, struct err *err);
/* --checksum and --keep-git-dir, when all sources are known. */
must_use int remote_flags(const struct command *c, struct plan_copy *copy, struct err *err);
/* The last name in a URL's path, decoded; NULL when that is no name of a file. Pure. */
const char *url_file_name(struct arena *a, struct str url);

/* ---- mount.c ---- */

must_use int mounts_parse(struct planner *p, size_t stage, const struct command *c,
	struct plan_run *run, struct err *err);
/* The from= of a mount's text, or an empty word. */
struct word mount_from(struct arena *a, const struct flag *flag);

/* ---- support.c ---- */

/* Refuse what the executor cannot do yet, by name. */
must_use int support_check(const struct command *c, const struct plan_op *op, struct err *err);

/* ---- print.c: texts as Go prints them, for histories ---- */

void print_quoted(struct buf *ret, struct str s);    /* %q */
void print_duration_go(struct buf *ret, int64_t ns); /* 1m30s */
/* %v, or %q, of a []string */
void print_list(struct buf *ret, const struct oci_list *list, bool quoted);

#endif
