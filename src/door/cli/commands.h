/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

/*
 * The commands, one file each, and what building and running share.
 */
#include "build/build.h"
#include "cli/internal.h"
#include "cli/progress.h"
#include "run/run.h"

extern const struct cli_command cmd_build;
extern const struct cli_command cmd_completion;
extern const struct cli_command cmd_df;
extern const struct cli_command cmd_doctor;
extern const struct cli_command cmd_gc;
extern const struct cli_command cmd_help;
extern const struct cli_command cmd_image;
extern const struct cli_command cmd_image_push;
extern const struct cli_command cmd_images;
extern const struct cli_command cmd_logs;
extern const struct cli_command cmd_ps;
extern const struct cli_command cmd_run;
extern const struct cli_command cmd_stop;
extern const struct cli_command cmd_version;

/* Of `image`. */
extern const struct cli_command cmd_export;
extern const struct cli_command cmd_save;

/* ---- Options of every command that builds ---- */

struct build_flags {
	struct option_list allow, build_args, contexts, agents;
	const char *file;
	bool no_cache;
	bool no_tool_cache;
	const char *platform;
	unsigned progress; /* enum progress_mode */
	bool pull;
	const char *target;
};

enum { BUILD_OPTIONS = 11 };
extern const struct option_spec build_option_specs[BUILD_OPTIONS];

/* Fill the options that the flags and `dir` decide; the lists are the caller's to release. */
void build_flags_apply(
	const struct build_flags *flags, const char *dir, struct build_options *options);
/* What --ssh names; it is to be had in the arena. */
must_use int build_flags_agents(struct arena *a, const struct build_flags *flags,
	struct build_options *options, struct err *err);

/* "build 1.9s (6/7 cached)" */
void build_summary(const struct build_result *result, struct buf *ret);

/*
 * "id=ID[,env=VARIABLE|,src=FILE]", also "type=env" and "type=file" as docker has them, and
 * id alone for the variable of that name. The variable must be set and the file readable.
 */
must_use int secret_parse(
	struct arena *a, const char *text, struct build_secret *ret, struct err *err);

/* ---- Variables of a Space ---- */

/* What -e, --env-file and --secret of `run` gave. */
struct variable_flags {
	struct option_list env, env_files, secrets;
};

struct variables {
	struct argv env;	  /* variables; public: they are build arguments, too */
	struct argv secrets;	  /* NAME=value */
	struct argv secret_names; /* NAME */
	struct argv unset;	  /* names given with -e that have no value here */
};

void variables_done(struct variables *v);
DEFINE_CLEANUP_VALUE(struct variables, variables_done);

/*
 * Files first, in their order, then -e: what comes later wins. NAME without a value takes
 * that of this process: a variable that has none is left out and named in `unset`, a secret that
 * has none is an error. Names are those that the Hub allows.
 */
must_use int variables_read(
	const struct variable_flags *flags, struct variables *ret, struct err *err);

/* ---- A folder or an image, made to run ---- */

struct space_wish {
	const char *target;   /* folder of a Space, or an image: name, id or beginning of one */
	const char *name;     /* [OWNER/]NAME; NULL: of the target, and of the user */
	const char *hardware; /* flavor; NULL: the smallest */
	const char *listen;   /* address on the host */
	uint16_t port;	      /* on the host; 0: app_port, or the next one that is free */
	uint16_t app_port;    /* 0: what README.md or the image says */
	int64_t timeout;      /* ns until app_port must answer; 0: what README.md says */
	const struct build_flags *build;
	const struct variable_flags *variables;
};

/* Its lists are released by space_plan_done(), everything else lives in the arena. */
struct space_plan {
	struct run_options run;
	struct run *instance; /* started */
	bool is_built;	      /* from a folder, just now */
	struct build_result build;
	const char *image; /* the name (or id) under which the image can be removed */
};

void space_plan_done(struct space_plan *plan);
DEFINE_CLEANUP_VALUE(struct space_plan, space_plan_done);

struct store;

/* What the preparations work with. */
struct space_tools {
	struct invocation *inv;
	const struct settings *settings;
	struct progress *progress;
	int cancel_fd;
};

/*
 * Of a folder: read README.md (all findings are shown; with an error among them nothing is
 * built), build, and start it. What a start takes that does not depend on the image goes on
 * beside the build. Of an image: find it here, or pull it, and start it.
 */
must_use int space_start(const struct space_tools *tools, const struct space_wish *wish,
	struct space_plan *ret, struct err *err);

/* "My Space" → "spaceport.local/my-space:latest": what the image of a folder is called. */
const char *space_image_name(struct arena *a, const char *name);

/* So many runs that have ended are kept for `logs` and `ps -a`. */
enum { KEPT_RUNS = 20 };

/* ---- Collecting after a build ---- */

/* When everything is told: closes stdout, and takes some seconds at most. */
void collect_after(const struct settings *settings, int cancel_fd);
/* In a process of its own, which collect_end() ends, in a while. < 0: not this time. */
pid_t collect_beside(const struct settings *settings);
void collect_end(pid_t pid);

/* ---- Following a run to its end ---- */

/*
 * Tell what happens, print the URL on stdout when it answers, stop it on Ctrl-C. 0 when it was
 * asked to stop after it was ready; ERR_FAILED with the reason when it did not come up or ended
 * by itself; ERR_CANCELLED when it was stopped before it was ready, or killed.
 */
must_use int follow_run(const struct space_tools *tools, const struct space_plan *plan,
	struct run *run, struct err *err);

#endif
