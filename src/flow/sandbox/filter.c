/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <linux/filter.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "base/alloc.h"
#include "base/base64.h"
#include "os/command.h"
#include "os/file.h"
#include "sandbox/internal.h"

/*
 * To compile a seccomp profile takes a runtime longer than all else that it does at a start.
 * crun leaves the program that came of it in the state of a container, and takes such a
 * program as an annotation. Other runtimes do neither: for them nothing is ever kept.
 */
#define PROGRAM "seccomp.bpf"

enum { PROGRAM_MAX = BPF_MAXINSNS * sizeof(struct sock_filter) };

static void add_file(struct buf *name, const char *path)
{
	struct stat st = {0};

	(void)stat(path, &st); /* all zeros: not there */
	buf_add_u64(name, st.st_dev);
	buf_add_u64(name, st.st_ino);
	buf_add_u64(name, (uint64_t)st.st_size);
	buf_add_u64(name, (uint64_t)st.st_mtim.tv_sec);
	buf_add_u64(name, (uint64_t)st.st_mtim.tv_nsec);
}

/*
 * All that the program depends on: the profile, the rights, the runtime, its libraries (the
 * linker's cache is made anew with each that is installed), the kernel.
 */
static void name_of(const struct sandbox_container *c, struct buf *ret)
{
	cleanup_free char *runtime = command_find(sandbox_runtime(c));
	struct utsname host;

	uname(&host);
	buf_add_field(ret, STR("seccomp"));
	buf_add_u32(ret, c->rights);
	add_file(ret, SECCOMP_PROFILE);
	add_file(ret, runtime ? runtime : "");
	add_file(ret, "/etc/ld.so.cache");
	buf_add_field(ret, str_of(host.release));
	buf_add_field(ret, str_of(host.machine));
}

bool filter_recall(const struct sandbox_container *c, struct buf *ret)
{
	cleanup(buf_done) struct buf name = {0};

	if (!c->memory || c->rights == SANDBOX_INSECURE)
		return false;
	name_of(c, &name);
	return c->memory->get(c->memory->arg, buf_str(&name), ret);
}

void filter_keep(const struct sandbox_container *c)
{
	cleanup(buf_done) struct buf program = {0};
	cleanup(buf_done) struct buf name = {0};
	cleanup(buf_done) struct buf text = {0};
	cleanup_free char *path =
		xprintf("%s/" SCRATCH_RUNTIME "/%s/" PROGRAM, sandbox_scratch(), c->id);

	if (!c->memory || file_read(AT_FDCWD, path, PROGRAM_MAX, &program, NULL) < 0)
		return;
	if (program.len == 0 || program.len % sizeof(struct sock_filter) != 0)
		return;
	name_of(c, &name);
	base64_encode(buf_str(&program), &text);
	c->memory->put(c->memory->arg, buf_str(&name), buf_str(&text));
}
