/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <sys/utsname.h>

#include "os/file.h"
#include "sandbox/internal.h"
#include "json/json.h"

/*
 * The profile has conditions ("includes" and "excludes" by capability and architecture) that
 * a runtime does not know. Here the conditions are decided, and what remains is the
 * linux.seccomp object.
 */

enum { PROFILE_MAX = 1 << 20 };

struct facts {
	const char *const *caps;
	size_t cap_count;
	const char *arch; /* in the profile's words: amd64, arm64 */
};

static const struct {
	const char *machine, *arch, *scmp[3];
} architectures[] = {
	{"x86_64", "amd64", {"SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"}},
	{"aarch64", "arm64", {"SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM", NULL}},
	{"riscv64", "riscv64", {"SCMP_ARCH_RISCV64", NULL, NULL}},
	{"ppc64le", "ppc64le", {"SCMP_ARCH_PPC64LE", NULL, NULL}},
	{"s390x", "s390x", {"SCMP_ARCH_S390X", "SCMP_ARCH_S390", NULL}},
};

static bool has_cap(const struct facts *f, const char *cap)
{
	for (size_t i = 0; i < f->cap_count; i++)
		if (strcmp(f->caps[i], cap) == 0)
			return true;
	return false;
}

/* How many of a condition's items hold; ret_total is their number. */
static size_t count_true(const struct json *condition, const struct facts *f, size_t *ret_total)
{
	const struct json *caps = json_find(condition, "caps");
	const struct json *arches = json_find(condition, "arches");
	size_t hits = 0;

	*ret_total = json_count(caps) + (json_count(arches) > 0);
	for (size_t i = 0; i < json_count(caps); i++) {
		const char *cap = json_text(json_item(caps, i));
		hits += cap && has_cap(f, cap);
	}
	for (size_t i = 0; i < json_count(arches); i++) {
		const char *arch = json_text(json_item(arches, i));
		hits += arch && strcmp(arch, f->arch) == 0;
	}
	return hits;
}

static bool applies(const struct json *rule, const struct facts *f)
{
	size_t wanted, unwanted;

	if (count_true(json_find(rule, "includes"), f, &wanted) < wanted)
		return false;
	return count_true(json_find(rule, "excludes"), f, &unwanted) == 0;
}

static int put_args(struct json_writer *w, const struct json *args, struct err *err)
{
	static const char *const fields[] = {"index", "value", "valueTwo"};

	if (json_count(args) == 0)
		return 0;
	json_key(w, "args");
	json_begin_array(w);
	for (size_t i = 0; i < json_count(args); i++) {
		const struct json *arg = json_item(args, i);
		const char *op = json_text(json_find(arg, "op"));
		json_begin_object(w);
		for (size_t k = 0; k < array_size(fields); k++) {
			uint64_t v = 0;
			if (json_opt_u64(arg, fields[k], &v, err) < 0)
				return -(int)err->kind;
			json_add_u64(w, fields[k], v);
		}
		json_add_text(w, "op", op ? op : "SCMP_CMP_EQ");
		json_end_object(w);
	}
	json_end_array(w);
	return 0;
}

static int put_rule(struct json_writer *w, const struct json *rule, struct err *err)
{
	const struct json *names = json_find(rule, "names");
	const char *action;
	uint64_t errno_ret = 0;

	if (json_get_text(rule, "action", &action, err) < 0 ||
		json_opt_u64(rule, "errnoRet", &errno_ret, err) < 0)
		return -(int)err->kind;
	json_begin_object(w);
	json_key(w, "names");
	json_begin_array(w);
	for (size_t i = 0; i < json_count(names); i++)
		if (json_text(json_item(names, i)))
			json_put_text(w, json_text(json_item(names, i)));
	json_end_array(w);
	json_add_text(w, "action", action);
	if (errno_ret)
		json_add_u64(w, "errnoRet", errno_ret);
	int r = put_args(w, json_find(rule, "args"), err);
	json_end_object(w);
	return r;
}

static void put_architectures(struct json_writer *w, const char *arch)
{
	json_key(w, "architectures");
	json_begin_array(w);
	for (size_t i = 0; i < array_size(architectures); i++)
		for (size_t k = 0; k < 3 && strcmp(arch, architectures[i].arch) == 0; k++)
			if (architectures[i].scmp[k])
				json_put_text(w, architectures[i].scmp[k]);
	json_end_array(w);
}

int seccomp_translate(struct str profile, const char *const *caps, size_t cap_count,
	const char *arch, struct buf *ret, struct err *err)
{
	cleanup(arena_done) struct arena a = {0};
	const struct facts facts = {caps, cap_count, arch};
	const struct json *doc, *rules;
	const char *action;
	uint64_t errno_ret = 38;

	if (json_parse(&a, profile, PROFILE_MAX, &doc, err) < 0 ||
		json_get_text(doc, "defaultAction", &action, err) < 0 ||
		json_opt_u64(doc, "defaultErrnoRet", &errno_ret, err) < 0 ||
		json_get_array(doc, "syscalls", &rules, err) < 0)
		return -(int)err->kind;
	struct json_writer w = json_writer_to(ret);
	json_begin_object(&w);
	json_add_text(&w, "defaultAction", action);
	json_add_u64(&w, "defaultErrnoRet", errno_ret);
	put_architectures(&w, arch);
	json_key(&w, "syscalls");
	json_begin_array(&w);
	for (size_t i = 0; i < json_count(rules); i++)
		if (applies(json_item(rules, i), &facts) &&
			put_rule(&w, json_item(rules, i), err) < 0)
			return -(int)err->kind;
	json_end_array(&w);
	json_end_object(&w);
	return 0;
}

int seccomp_load(enum sandbox_rights rights, struct buf *ret, struct err *err)
{
	cleanup(buf_done) struct buf profile = {0};
	struct utsname host;
	const char *arch = "";

	int r = file_read(AT_FDCWD, SECCOMP_PROFILE, PROFILE_MAX, &profile, err);
	if (r == -ERR_MISSING) {
		err_clear(err);
		(void)err_set(err, ERR_HOST, "%s is missing", SECCOMP_PROFILE);
		return err_hint(err, "sudo apt-get install golang-github-containers-common");
	}
	if (r < 0)
		return r;
	uname(&host);
	for (size_t i = 0; i < array_size(architectures); i++)
		if (strcmp(host.machine, architectures[i].machine) == 0)
			arch = architectures[i].arch;
	if (seccomp_translate(buf_str(&profile), build_caps,
		    rights == SANDBOX_BUILD ? build_cap_count : 0, arch, ret, err) < 0)
		return err_wrap(err, SECCOMP_PROFILE);
	return 0;
}
