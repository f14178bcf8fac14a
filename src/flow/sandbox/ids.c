/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <pwd.h>
#include <unistd.h>

#include "base/number.h"
#include "os/file.h"
#include "sandbox/internal.h"
#include "sandbox/sandbox.h"

/*
 * Real root may map any range. This one lies above the ranges that useradd gives out and
 * above systemd-nspawn's (which end at 0x6fffffff), and below 2^31.
 */
enum { ROOT_RANGE_BASE = 0x70000000 };

bool subid_line(
	struct str line, struct str user, struct str uid, uint32_t *ret_base, uint32_t *ret_count)
{
	struct str name = str_cut(&line, ':'), base = str_cut(&line, ':');
	uint64_t first, count;

	if (!line.p || !(str_eq(name, user) || str_eq(name, uid)))
		return false;
	if (!parse_u64(str_trim(base), UINT32_MAX, &first) ||
		!parse_u64(str_trim(line), UINT32_MAX, &count) || count > UINT32_MAX - first)
		return false;
	*ret_base = (uint32_t)first;
	*ret_count = (uint32_t)count;
	return true;
}

static bool find_range(const char *path, const char *user, uint32_t *ret_base, uint32_t *ret_count)
{
	cleanup(buf_done) struct buf text = {0};
	char uid[16];
	bool found = false;

	snprintf(uid, sizeof(uid), "%u", (unsigned)getuid());
	if (file_read(AT_FDCWD, path, 16 << 20, &text, NULL) < 0)
		return false;
	struct str rest = buf_str(&text);
	while (rest.p) {
		uint32_t base, count;
		struct str line = str_cut(&rest, '\n');
		if (!subid_line(line, str_of(user), str_of(uid), &base, &count))
			continue;
		if (!found || count > *ret_count) {
			*ret_base = base;
			*ret_count = count;
		}
		found = true;
	}
	return found;
}

static int root_range(const char *setting, struct sandbox_ids *ret, struct err *err)
{
	uint32_t base = ROOT_RANGE_BASE, count = SANDBOX_ID_COUNT;

	if (setting) {
		struct str rest = str_of(setting), first = str_cut(&rest, ':');
		uint64_t b, n;
		if (!parse_u64(first, INT32_MAX, &b) || !parse_u64(rest, INT32_MAX, &n) || b == 0)
			return err_set(err, ERR_INPUT, "subids: %s is not BASE:COUNT", setting);
		base = (uint32_t)b;
		count = (uint32_t)n;
	}
	*ret = (struct sandbox_ids){.is_root = true,
		.root_uid = base,
		.root_gid = base,
		.uid_base = base,
		.gid_base = base,
		.count = count};
	return 0;
}

static int user_range(struct sandbox_ids *ret, struct err *err)
{
	struct passwd *self = getpwuid(getuid());
	const char *name = self ? self->pw_name : "";
	uint32_t uid_count, gid_count;

	*ret = (struct sandbox_ids){.root_uid = getuid(), .root_gid = getgid()};
	if (!find_range("/etc/subuid", name, &ret->uid_base, &uid_count) ||
		!find_range("/etc/subgid", name, &ret->gid_base, &gid_count)) {
		(void)err_set(err, ERR_HOST,
			"user %s has no range of subordinate ids in /etc/subuid and /etc/subgid",
			*name ? name : "without a name");
		return err_hint(err,
			"sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 %s",
			*name ? name : "USER");
	}
	ret->count = uid_count < gid_count ? uid_count : gid_count;
	return 0;
}

int sandbox_ids_find(const char *setting, struct sandbox_ids *ret, struct err *err)
{
	int r = geteuid() == 0 ? root_range(setting, ret, err) : user_range(ret, err);

	if (r < 0)
		return r;
	/* Images use ids up to 65534 (nogroup); root is one of them when we are not. */
	if (ret->count < SANDBOX_ID_COUNT - 1) {
		(void)err_set(err, ERR_HOST,
			"the range of subordinate ids has %u, 65536 are needed", ret->count);
		return err_hint(err, "give the user a larger range in /etc/subuid and /etc/subgid");
	}
	if (ret->count > SANDBOX_ID_COUNT)
		ret->count = SANDBOX_ID_COUNT;
	return 0;
}
