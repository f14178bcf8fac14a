/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <time.h>

#include "base/alloc.h"
#include "base/base64.h"
#include "base/fields.h"
#include "build/internal.h"
#include "os/clock.h"
#include "os/file.h"

/*
 * What ADD takes from elsewhere. Before the plan is walked, what every such source is at this
 * moment is found out, for the keys; after that, what is missing for steps that have to be
 * made is brought. Both happen in a box of their own which has the network of builds: a build
 * without such sources never comes here, and one whose sources are all known by checksum
 * asks nobody.
 */

enum { CA_MAX = 8 << 20 };

struct task {
	struct build_step *step;
	struct build_input *input;
};

struct job {
	struct build *b;
	struct task *tasks;
	size_t count, cap;
	struct buf ca; /* the certificate authorities, which the box may be unable to read */
	/* In the box */
	struct sandbox_channel *channel;
	size_t now;
};

/* ---- What can be known ---- */

/* The name counts too, where it becomes that of the file. */
static void add_url(const struct build_input *input, struct buf *text)
{
	buf_add_field(text, STR("url"));
	buf_add_field(text, str_of(input->remote->name));
	buf_add(text, input->content.bytes, DIGEST_SIZE);
}

/* The address and the ref are part of .git, and modules are found by the address. */
static void add_git(const struct build_input *input, struct buf *text)
{
	const struct plan_git *git = input->remote->git;
	bool has_address = git->keep_git_dir == PLAN_ON || git->submodules == PLAN_ON;

	buf_add_field(text, STR("git"));
	buf_add_field(text, str_of(input->commit));
	buf_add_field(text, str_of(git->subdir));
	buf_add_u32(text, git->keep_git_dir == PLAN_ON);
	buf_add_u32(text, git->submodules == PLAN_ON);
	buf_add_field(text, str_of(has_address ? git->url : ""));
}

/* The part of the key. */
static void set_known(struct build_input *input)
{
	cleanup(buf_done) struct buf text = {0};

	if (input->remote->git)
		add_git(input, &text);
	else
		add_url(input, &text);
	input->digest = digest_of(text.data, text.len);
	input->is_known = true;
}

void remote_foresee(struct build_input *input, const struct plan_copy *copy)
{
	const struct plan_git *git = input->remote->git;
	const char *commit = !git ? "" : git->is_commit ? git->ref : git->checksum;
	size_t n = strlen(commit);

	if (n == 40 || n == 64)
		snprintf(input->commit, sizeof(input->commit), "%s", commit);
	if (*input->commit || (!git && digest_parse(str_of(copy->checksum), &input->content)))
		set_known(input);
}

/* ---- Credentials of repositories ---- */

/* GIT_AUTH_TOKEN.github.com, else GIT_AUTH_TOKEN; ports do not count. */
static struct str find_secret(struct build *b, const char *name, struct str host)
{
	const char *own = arena_printf(&b->arena, "%s.%.*s", name, STR_ARG(host));
	const struct build_secret_value *secret = build_find_secret(b, own);

	if (!secret)
		secret = build_find_secret(b, name);
	return secret ? str_trim(buf_str(&secret->value)) : STR("");
}

/* What goes into the header Authorization: as BuildKit has it. Empty: nothing. */
static int find_authorization(
	struct build *b, const struct plan_git *git, struct buf *ret, struct err *err)
{
	cleanup(buf_done) struct buf shown = {0};
	const struct plan_path path = {.kind = PLAN_GIT, .git = (struct plan_git *)(uintptr_t)git};

	remote_print(&path, &shown);
	struct str rest = buf_str(&shown), host;
	if (!str_starts(rest, STR("http")))
		return 0;
	rest = str_from_index(rest, str_find(rest, ':') + 3);
	host = str_cut(&rest, '/');
	if (!str_ends(host, STR("]")))
		host = str_slice(host, 0, str_rfind(host, ':'));
	struct str header = find_secret(b, "GIT_AUTH_HEADER", host);
	struct str token = find_secret(b, "GIT_AUTH_TOKEN", host);
	if (str_find(header, '\n') < header.n || str_find(token, '\n') < token.n)
		return err_set(err, ERR_INPUT, "the secret for git has more than one line");
	if (header.n) {
		buf_add_str(ret, header);
	} else if (token.n) {
		cleanup(buf_done) struct buf pair = {0};
		buf_printf(&pair, "x-access-token:%.*s", STR_ARG(token));
		buf_add_text(ret, "basic ");
		base64_encode(buf_str(&pair), ret);
		explicit_bzero(pair.data, pair.cap);
	}
	return 0;
}

/* ---- In the box ---- */

enum { PROGRESS = 'p', RESULT = 'r' };

static void tell_progress(void *arg, uint64_t done, uint64_t total)
{
	const struct job *job = arg;
	cleanup(buf_done) struct buf message = {0};

	buf_add_char(&message, PROGRESS);
	buf_add_u64(&message, job->now);
	buf_add_u64(&message, done);
	buf_add_u64(&message, total);
	sandbox_tell(job->channel, buf_str(&message));
}

static void tell_result(const struct job *job, const struct fetch_file *file, const char *commit)
{
	cleanup(buf_done) struct buf message = {0};

	buf_add_char(&message, RESULT);
	buf_add_u64(&message, job->now);
	buf_add(&message, file->digest.bytes, DIGEST_SIZE);
	buf_add_u64(&message, file->size);
	buf_add_u64(&message, (uint64_t)file->mtime);
	buf_add_u32(&message, file->is_stale);
	buf_add_field(&message, str_of(file->reason));
	buf_add_field(&message, str_of(commit));
	sandbox_tell(job->channel, buf_str(&message));
}

static int join_network(const struct build *b, struct err *err)
{
	const struct settings *s = b->settings;
	cleanup(argv_done) struct argv servers = {0};

	if (s->build.fetch_network == SETTINGS_FETCH_AS_HOST)
		return 0;
	for (size_t i = 0; i < s->dns.count; i++)
		argv_add(&servers, s->dns.items[i]);
	int r = sandbox_network_start(SANDBOX_NETWORK_EGRESS, &servers, err);
	return r < 0 ? r : sandbox_network_join(err);
}

static int work_on_url(
	const struct job *job, int dir, const struct fetch_options *options, struct err *err)
{
	const struct build_input *input = job->tasks[job->now].input;
	const struct fetch_url what = {.url = input->remote->path,
		.checksum = input->is_known ? &input->content : NULL,
		.is_fresh = job->b->options->no_cache && !input->is_known};
	struct fetch_file file;

	int r = fetch_url(dir, options, &what, &file, err);
	if (r == 0)
		tell_result(job, &file, "");
	return r;
}

static struct fetch_git git_of(const struct plan_git *git)
{
	return (struct fetch_git){.url = git->url,
		.ref = git->ref,
		.checksum = git->checksum,
		.is_commit = git->is_commit,
		.submodules = git->submodules == PLAN_ON,
		.keep_git_dir = git->keep_git_dir == PLAN_ON};
}

/* The first time only the commit is asked for. */
static int work_on_git(
	const struct job *job, int dir, const struct fetch_options *options, struct err *err)
{
	const struct build_input *input = job->tasks[job->now].input;
	struct fetch_git what = git_of(input->remote->git);
	cleanup(buf_done) struct buf authorization = {0};
	const struct fetch_file none = {0};
	char commit[FETCH_COMMIT_SIZE];

	int r = find_authorization(job->b, input->remote->git, &authorization, err);
	if (r < 0)
		return r;
	what.authorization = authorization.len ? authorization.data : NULL;
	snprintf(commit, sizeof(commit), "%s", input->commit);
	r = input->is_known ? fetch_git(dir, options, &what, commit, err)
			    : fetch_git_resolve(options, &what, commit, err);
	if (r == 0)
		tell_result(job, &none, commit);
	return r;
}

static int work_on(
	const struct job *job, int dir, const struct fetch_options *options, struct err *err)
{
	const struct task *task = &job->tasks[job->now];
	int r = task->input->remote->git ? work_on_git(job, dir, options, err)
					 : work_on_url(job, dir, options, err);

	return r < 0 ? build_place(job->b, task->step, err) : 0;
}

static int work_in_box(void *arg, struct sandbox_channel *channel, struct err *err)
{
	struct job *job = arg;
	const struct settings *s = job->b->settings;
	cleanup_free char *ca = xprintf("%s/fetch-ca.crt", sandbox_scratch());
	const struct fetch_options options = {.ca_bundle = job->ca.len ? ca : NULL,
		.http_proxy = s->http_proxy,
		.https_proxy = s->https_proxy,
		.no_proxy = s->no_proxy,
		.max_bytes = s->build.fetch_size,
		.scratch = sandbox_scratch(),
		.progress = tell_progress,
		.arg = job};
	/* By its path: descriptors from outside lead to mounts that cannot be mounted again here.
	 */
	cleanup_free char *path = xprintf("%s/store", s->data);
	cleanup_close int store = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), dir = -1;

	job->channel = channel;
	if (store < 0)
		return err_sys(err, "open %s", path);
	int r = fetch_make(store, &dir, err);
	if (r == 0 && job->ca.len)
		r = file_replace(AT_FDCWD, ca, buf_str(&job->ca), 0600, err);
	if (r == 0)
		r = join_network(job->b, err);
	for (job->now = 0; job->now < job->count && r == 0; job->now++)
		r = work_on(job, dir, &options, err);
	return r;
}

/* ---- Outside ---- */

static void emit(const struct job *job, const struct task *task, const struct build_event *of)
{
	cleanup(buf_done) struct buf shown = {0};
	struct build_event event = *of;

	remote_print(task->input->remote, &shown);
	event.kind = BUILD_PULL;
	event.name = buf_str(&shown);
	event.text = event.name;
	event.layers = 1;
	build_emit(job->b, &event);
}

static void hear_progress(const struct job *job, struct task *task, struct fields *f)
{
	struct build_event event = {.phase = STR("download")};

	event.done = fields_u64(f);
	event.total = fields_u64(f);
	if (!f->bad)
		emit(job, task, &event);
}

static void hear_result(const struct job *job, struct task *task, struct fields *f)
{
	struct build_input *input = task->input;
	struct fetch_file file = {0};
	cleanup(buf_done) struct buf shown = {0};

	if (f->rest.n < DIGEST_SIZE)
		return;
	memcpy(file.digest.bytes, f->rest.p, DIGEST_SIZE);
	f->rest = str_from_index(f->rest, DIGEST_SIZE);
	file.size = fields_u64(f);
	file.mtime = (int64_t)fields_u64(f);
	file.is_stale = fields_u32(f) != 0;
	struct str reason = fields_str(f), commit = fields_str(f);
	if (f->bad)
		return;
	input->file = file;
	input->content = file.digest;
	snprintf(input->commit, sizeof(input->commit), "%.*s", STR_ARG(commit));
	set_known(input);
	emit(job, task,
		&(struct build_event){.phase = STR("done"), .done = file.size, .total = file.size});
	if (!file.is_stale)
		return;
	remote_print(input->remote, &shown);
	const char *text = arena_printf(&job->b->arena,
		"%s:%u: what %s gave before is used, since it cannot be asked now: %.*s",
		job->b->file.source.name, task->step->op->span.line, buf_text(&shown),
		STR_ARG(reason));
	build_emit_text(job->b, BUILD_WARNING, str_of(text));
}

static void hear(void *arg, struct str message)
{
	struct job *job = arg;
	struct fields f = {.rest = str_from_index(message, 1)};
	uint64_t index = fields_u64(&f);

	if (!message.n || f.bad || index >= job->count)
		return;
	if (message.p[0] == PROGRESS)
		hear_progress(job, &job->tasks[index], &f);
	if (message.p[0] == RESULT)
		hear_result(job, &job->tasks[index], &f);
}

static void tick(void *arg)
{
	const struct job *job = arg;
	const struct build_event event = {.kind = BUILD_TICK};

	build_emit(job->b, &event);
}

static int refuse_network(const struct job *job, struct err *err)
{
	(void)err_set(err, ERR_FAILED,
		"what it adds has to be fetched, and `network: none` in "
		"spaceport.yaml forbids that");
	return build_place(job->b, job->tasks[0].step, err);
}

static int run(struct job *job, struct err *err)
{
	struct build *b = job->b;
	int64_t timeout = b->settings->build.timeout;
	const struct sandbox_work work = {.ids = store_ids(b->store),
		.scratch = store_scratch(b->store),
		.work = work_in_box,
		.on_message = hear,
		.on_tick = tick,
		.arg = job,
		.cancel_fd = b->options->cancel_fd,
		.deadline = timeout ? clock_now() + timeout : 0};

	if (!job->count)
		return 0;
	if (b->settings->network == SETTINGS_NETWORK_NONE)
		return refuse_network(job, err);
	if (b->settings->ca_bundle &&
		file_read(AT_FDCWD, b->settings->ca_bundle, CA_MAX, &job->ca, err) < 0)
		return err_wrap(err, "ca_bundle");
	return sandbox_work_run(&work, err);
}

static void job_done(struct job *job)
{
	buf_done(&job->ca);
	free(job->tasks);
}
DEFINE_CLEANUP_VALUE(struct job, job_done);

/* ---- All of them ---- */

typedef int visit_fn(struct job *job, const struct task *task, struct err *err);

static int each_remote(struct job *job, visit_fn *visit, struct err *err)
{
	struct build *b = job->b;

	for (size_t i = 0; i < b->plan.stage_count; i++)
		for (size_t k = 0; k < b->stages[i].step_count; k++) {
			struct build_step *step = &b->stages[i].steps[k];
			for (size_t n = 0; n < step->input_count; n++) {
				const struct task task = {step, &step->inputs[n]};
				int r = task.input->remote ? visit(job, &task, err) : 0;
				if (r < 0)
					return r;
			}
		}
	return 0;
}

static void add_task(struct job *job, const struct task *task)
{
	job->tasks = xgrow(job->tasks, &job->cap, job->count + 1, sizeof(*job->tasks));
	job->tasks[job->count++] = *task;
}

static int add_unknown(struct job *job, const struct task *task, struct err *err)
{
	(void)err;
	if (!task->input->is_known)
		add_task(job, task);
	return 0;
}

/* From the first use on nothing that is kept goes away. FETCH_E_ABSENT when nothing is. */
static int hold_downloads(struct build *b, struct err *err)
{
	int r = b->downloads < 0 ? fetch_open(store_dir(b->store), &b->downloads, err) : 0;

	if (r == 0 && b->downloads_lock < 0)
		r = fetch_hold(b->downloads, &b->downloads_lock, err);
	return r;
}

int remote_ask(struct build *b, struct err *err)
{
	cleanup(job_done) struct job job = {.b = b};
	int r = each_remote(&job, add_unknown, err);

	return r < 0 ? r : run(&job, err);
}

static int open_kept(struct build *b, struct build_input *input, struct err *err)
{
	if (!input->remote->git)
		return fetch_find(b->downloads, &input->content, &input->file, &input->fd, err);
	const struct fetch_git what = git_of(input->remote->git);
	return fetch_git_find(b->downloads, &what, input->commit, &input->fd, err);
}

static int open_or_add(struct job *job, const struct task *task, struct err *err)
{
	struct build_input *input = task->input;

	if (task->step->cached || input->fd >= 0)
		return 0;
	int r = hold_downloads(job->b, err);
	if (r == 0)
		r = open_kept(job->b, input, err);
	if (r != FETCH_E_ABSENT)
		return r;
	add_task(job, task);
	return 0;
}

static int open_all(struct job *job, const struct task *task, struct err *err)
{
	size_t before = job->count;
	int r = open_or_add(job, task, err);

	if (r == 0 && job->count > before)
		return err_set(
			err, ERR_BUG, "%s was fetched and is not there", task->input->remote->path);
	return r;
}

int remote_bring(struct build *b, struct err *err)
{
	cleanup(job_done) struct job job = {.b = b};
	int r = each_remote(&job, open_or_add, err);

	if (r == 0)
		r = run(&job, err);
	return r < 0 ? r : each_remote(&job, open_all, err);
}

static int close_input(struct job *job, const struct task *task, struct err *err)
{
	(void)job;
	(void)err;
	if (task->input->fd >= 0)
		close(take_fd(&task->input->fd));
	return 0;
}

void remote_done(struct build *b)
{
	struct job job = {.b = b};
	struct err unused = {0};

	if (b->stages)
		ignored(each_remote(&job, close_input, &unused));
	if (b->downloads_lock >= 0)
		close(b->downloads_lock);
	if (b->downloads < 0)
		return;
	/* A failure here is one of the next build, too. */
	ignored(fetch_trim(b->downloads, b->settings->build.fetch_keep, &unused));
	close(b->downloads);
}
