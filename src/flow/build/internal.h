/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BUILD_INTERNAL_H
#define BUILD_INTERNAL_H

#include "base/arena.h"
#include "build/build.h"
#include "dockerfile/dockerfile.h"
#include "fetch/fetch.h"
#include "image/image.h"
#include "layer/layer.h"
#include "os/cgroup.h"
#include "sandbox/sandbox.h"
#include "store/store.h"
#include "tree/tree.h"

/* Part of every key: raised when a step's result would differ from what older layers hold. */
#define BUILD_KEY_VERSION "spaceport-build-1"

/* What it shows is part of the step's key: a bind mount, a cache with first content. */
static inline bool mount_has_input(const struct plan_mount *m)
{
	return m->kind == PLAN_MOUNT_BIND ||
	       (m->kind == PLAN_MOUNT_CACHE && m->from.kind != PLAN_SCRATCH);
}

/* ---- State of one build ---- */

/* Stages that are made at the same time, at most. */
enum { BUILD_MAX_WORKERS = SETTINGS_MAX_PARALLEL };

/* A tree of the user's: the build context itself, or one of --build-context. */
struct build_context {
	const char *name;  /* "" of the build context */
	const char *path;  /* of a directory, else NULL */
	const char *place; /* for errors */
	int dir;	   /* < 0: it is an image */
	struct patterns *ignore;
	struct tree_cache *cache; /* digests of its files, while inputs are looked for */
};

/*
 * A step's inputs: COPY has one for all its paths, RUN one for each bind mount, ADD one more for
 * each URL and each repository.
 */
struct build_input {
	const struct plan_source *from;
	const struct plan_path *remote; /* of an ADD, from elsewhere: URL, repository; or NULL */
	size_t selection;		/* of build->selections, when from the context */
	bool is_known;
	struct digest digest; /* of the content selected */

	/* Remote ones: */
	struct digest content; /* of the file; is_known */
	char commit[65];       /* of the repository; is_known */
	struct fetch_file file;
	int fd; /* of the file or the tree, once it is here; else < 0 */
};

struct build_step {
	struct plan_op *op;
	uint32_t number; /* over all needed stages, from 1: the event's step */
	struct build_input *inputs;
	size_t input_count;
	bool has_key;	   /* everything the key depends on is known */
	struct digest key; /* of the step; its layer's name is layer_key_of() */
	bool cached;
	/* It would have a tool's own cache and shall not: a result of another kind. */
	bool without_tool_cache;
	struct step_caches *caches; /* while it is made */
};

struct build_stage {
	const struct plan_stage *plan;
	struct build_step *steps;
	size_t step_count;
	/* How far it has come: begun, the step that is next, whole. */
	bool is_started, is_over;
	size_t next;
	struct digest key; /* of the step before the next, or of the base */
	struct layer_key *chain;
	size_t chain_len;
	bool in_work; /* by a worker */
};

struct build_secret_value {
	const char *id;
	bool found;
	struct buf value;
};

struct build {
	struct arena arena;
	const struct build_options *options;
	struct store *store;
	struct store_lease *lease; /* names all that it uses; NULL when plan_only */
	const struct settings *settings;
	bool plan_only;		       /* nothing is pulled and nothing run */
	int downloads, downloads_lock; /* what ADD fetched; < 0 while nothing was needed */

	/* What the user wrote */
	struct build_context *contexts; /* the build context, then those with names */
	size_t context_count;
	struct plan_context *plan_contexts; /* the same without the first */
	struct buf dockerfile_text;
	struct dockerfile file;
	struct plan plan;
	struct image_record *records; /* one for each of plan.images; id zero: not here */
	struct build_secret_value *secrets;
	struct oci_list build_args;

	/* What its steps need of the context */
	struct tree_selection **selections;
	size_t selection_count, selection_cap;

	struct build_stage *stages; /* as plan.stages; only needed ones are filled */
	uint32_t step_count, cached_count;

	/* In the box */
	struct sandbox_channel *channel; /* NULL outside */
	struct layer_store *layers;	 /* the store's, or the box's own for writing */
	struct image_store *images;
	/* To context servers: one for each worker; without workers the first is used. */
	int server_sockets[BUILD_MAX_WORKERS];
	size_t server_count;
	int agent_socket;   /* to the server of ssh-agents; < 0: none is given */
	int context_socket; /* the one of this process; < 0 outside */
	int report;	    /* a worker's way to tell the scheduler; < 0 in others */
	struct cgroup *cgroup;
	bool has_network; /* it was started, or that failed: */
	struct err network_error;
	unsigned mount_number;

	char image_id[DIGEST_TEXT_SIZE];
};

/* Nothing but the store. */
must_use int build_open(struct build *b, const struct settings *settings,
	const struct build_options *options, struct err *err);
void build_done(struct build *b);
DEFINE_CLEANUP_VALUE(struct build, build_done);

/* ---- prepare.c: from options to a plan and its inputs ---- */

must_use int build_prepare(struct build *b, struct err *err);
/* Its parts: the context's directory, the Dockerfile, .dockerignore, the build arguments … */
must_use int build_read(struct build *b, struct err *err);
/* … and the plan with the images it needs; with plan_only those that are here. */
must_use int build_make_plan(struct build *b, struct err *err);

/* ---- check.c ---- */

/* Tells what the checks find in what is built; with error=true that fails the build. */
must_use int build_lint(struct build *b, struct err *err);

/* ---- contexts.c: the trees of the user ---- */

must_use int build_open_contexts(struct build *b, struct err *err);
/* After the Dockerfile is found: its own .dockerignore comes before that of the context. */
must_use int build_read_ignores(struct build *b, const char *dockerfile, struct err *err);
/* The whole file; one that is larger than limit is ERR_FAILED. */
must_use int build_read_text(const char *path, size_t limit, struct buf *ret, struct err *err);
void build_close_contexts(struct build *b);
/* The context whose directory this descriptor is, or NULL. */
const struct build_context *build_context_of(const struct build *b, int dir);
/* Fill and keep build_context.cache. */
void build_load_caches(struct build *b);
void build_save_caches(struct build *b);

/* ---- inputs.c ---- */

/* Select and digest what steps need of the build context; lays out b->stages. */
must_use int build_find_inputs(struct build *b, struct err *err);

/* ---- select.c ---- */

/* What a step takes from `root`: the build context, or the tree of a stage or an image. */
must_use int build_select(struct build *b, const struct plan_op *op, const struct plan_mount *mount,
	int root, struct tree_selection **ret, struct err *err);

/* ---- secrets.c ---- */

must_use int build_read_secrets(struct build *b, struct err *err);
struct build_secret_value *build_find_secret(struct build *b, const char *id);

/* Replaces secret values in a stream of output by "***", also where a read cut them. */
struct mask;
struct mask *mask_new(void);
void mask_free(struct mask *m);
DEFINE_CLEANUP(struct mask *, mask_free);
/* Values shorter than four bytes are left alone: they would eat the log. */
void mask_add(struct mask *m, struct str secret);
/* What can be shown of all bytes so far goes to ret; the rest waits. */
void mask_feed(struct mask *m, struct str bytes, struct buf *ret);
void mask_flush(struct mask *m, struct buf *ret);

/* ---- allow.c ---- */

/* ERR_FAILED at the first needed step that asks for what nobody allows it. */
must_use int build_check_allowed(struct build *b, struct err *err);

/* ---- agent.c: ssh-agents, outside of the box ---- */

/*
 * What the box asks for in one packet: the u32 index of an agent, a listening socket and the
 * reading end of a pipe. Whoever connects to the socket talks to the agent, until the pipe's
 * other end is closed.
 */
enum { AGENT_REQUEST_FDS = 2 };
/* Serve such requests until there is nobody any more who could send one. */
noreturn_fn void agents_serve(int socket, const struct build_agent *agents, size_t count);

/* ---- key.c: what a step's result depends on ---- */

struct digest key_of_base(const struct build *b, const struct plan_stage *stage);
struct digest key_of_step(const struct digest *parent, const struct build_step *step);
/* COPY --link: made on nothing, whatever is below it. With --chmod it is a COPY like others. */
static inline bool step_is_linked(const struct build_step *step)
{
	return step->op->copy && step->op->copy->link && !*step->op->copy->chmod;
}
/* Of a stage after a step whose layer stands for itself. */
struct digest key_of_chain(const struct digest *parent, const struct digest *step);
/* Name of the memo that holds the digest of an input from a stage or an image. */
void key_of_input(const struct digest *source, const struct plan_op *op,
	const struct plan_mount *mount, struct buf *ret);

/* ---- walk.c: the plan from the bottom up ---- */

enum walk {
	WALK_PLAN, /* which keys are known, which layers are there? */
	WALK_LOOK, /* as far as all layers are there */
	WALK_MAKE, /* make those that are not; in a box */
};

enum { WALK_STOPS = 1 };

/*
 * A stage from its next step on: 0 when it is over, WALK_STOPS when it waits for another stage
 * or the kind of walk does not allow more.
 */
must_use int stage_walk(
	struct build *b, struct build_stage *stage, enum walk walk, struct err *err);
/* All stages, one after another. */
must_use int build_walk(struct build *b, enum walk walk, struct err *err);
/* Is what its next step needs there? False for a stage that is over. Pure. */
bool stage_can_go_on(const struct build_stage *stages, const struct build_stage *stage);
/* The next step's layer is there. */
void stage_step_over(struct build_stage *stage, const struct digest *key);
/* The layers and the key that a plan_source stands for; false while they are not known. */
bool build_source_chain(struct build *b, const struct plan_source *from, struct layer_chain *ret,
	struct digest *ret_key);

/* ---- schedule.c: stages at the same time ---- */

/* In the box: make all that is missing. */
must_use int build_schedule(struct build *b, struct err *err);
/* Is there, from here on, never more than one stage that can go on? Pure. */
bool stages_are_sequence(const struct build_stage *stages, size_t count);
/*
 * Outside of the box: how many stages the box will make at the same time, at most. Whatever was
 * found out about the stages has to be found out again after it.
 */
must_use int schedule_width(struct build *b, size_t *ret, struct err *err);
/* A worker tells the scheduler; elsewhere nothing happens. */
void schedule_tell_start(const struct build *b, const struct build_step *step);
void schedule_tell_over(const struct build *b, const struct build_step *step);

/* ---- finish.c: the image ---- */

/*
 * The target's configuration, saved and named. Outside a box nothing is written: returns
 * BUILD_E_UNSAVED when there is something to write.
 */
enum { BUILD_E_UNSAVED = 1 };
must_use int build_finish(struct build *b, struct err *err);

/* ---- step.c, step_run.c, step_copy.c: in the box ---- */

must_use int build_do_step(
	struct build *b, struct build_stage *stage, struct build_step *step, struct err *err);
/* Before any step: begins what the first step_run() would otherwise wait for. */
void step_run_prepare(struct build *b);
/* On the mounted tree `root`, whose path is `rootfs`. */
must_use int step_run(struct build *b, const struct build_step *step, const char *rootfs, int root,
	struct err *err);
/* Into `root`; names of --chown are those of the tree `users`. */
must_use int step_copy(
	struct build *b, const struct build_step *step, int users, int root, struct err *err);
/*
 * direct.c: into a layer, past the overlay. `root` is the tree below it. BUILD_E_INDIRECT:
 * that has to be done in a mounted tree, and nothing was done to the layer.
 */
enum { BUILD_E_INDIRECT = 1 };
bool step_may_be_direct(const struct build *b, const struct build_step *step);
must_use int step_copy_direct(
	struct build *b, const struct build_step *step, int root, int layer, struct err *err);
must_use int step_workdir(const struct build_step *step, int root, struct err *err);

/* ---- remote.c: sources of ADD that are elsewhere; outside of the build's box ---- */

/* What can be known of it without asking anybody. */
void remote_foresee(struct build_input *input, const struct plan_copy *copy);
/* Ask about those that are not known; what has to be fetched for that is fetched. */
must_use int remote_ask(struct build *b, struct err *err);
/* Those of steps that are to be made are brought here, and opened. */
must_use int remote_bring(struct build *b, struct err *err);
/* The end of the build. */
void remote_done(struct build *b);
size_t plan_copy_paths(const struct plan_copy *copy);

/* add_archive.c: sources that are archives; both structs live as long as the copy. */
struct add_archive {
	struct build *b;
	const struct build_step *step;
	const struct dir_owner *owner; /* --chown, or NULL */
	struct err trouble;	       /* of looking at a file */
};

const struct tree_unpacker *add_unpacker(struct build *b, const struct build_step *step,
	const struct dir_owner *owner, struct add_archive *archive, struct tree_unpacker *ret);

/* A chain mounted read-only in scratch, once a build for each source. */
must_use int build_mount_source(
	struct build *b, const struct plan_source *from, int *ret_root, struct err *err);

/* mounts.c: what RUN --mount gives to the container */
struct step_mounts;
must_use int step_mounts_make(struct build *b, const struct build_step *step,
	struct step_mounts **ret, struct argv *env, struct err *err);
void step_mounts_list(
	const struct step_mounts *m, const struct sandbox_mount **ret, size_t *ret_count);
void step_mounts_free(struct step_mounts *m);
DEFINE_CLEANUP(struct step_mounts *, step_mounts_free);

/* ---- failure.c ---- */

struct step_end {
	int status;	 /* as waitpid */
	struct str tail; /* the last bytes of output */
	struct cgroup_usage usage;
	bool disk_full;
};

/* ERR_FAILED with the excerpt, the last lines, and what the kernel knows. */
int build_failure(const struct build *b, const struct build_step *step, const struct step_end *end,
	struct err *err);
/* Put the step's place in front of an error and its excerpt behind it. Returns < 0. */
int build_place(const struct build *b, const struct build_step *step, struct err *err);

/* ---- print.c, print_json.c ---- */

void build_print_plan(const struct build *b, struct buf *ret);
/* print_json.c: as docs/plan.schema.json says. */
void build_print_json(const struct build *b, struct buf *ret);

/* ---- event.c ---- */

/* To the caller, or through the channel to it. */
void build_emit(struct build *b, const struct build_event *event);
void build_emit_text(struct build *b, enum build_event_kind kind, struct str text);
void build_emit_progress(void *build, const struct image_progress *progress);
void event_print(const struct build_event *event, struct buf *ret);
bool event_parse(struct str message, struct build_event *ret);

#endif
