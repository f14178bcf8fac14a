/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>

#include "base/alloc.h"
#include "tree/fixture.h"

static const char passwd[] = "root:x:0:0:root:/root:/bin/bash\n"
			     "# a comment:x:1:1::/:\n"
			     "daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n"
			     "broken line\n"
			     "short:x:7\n"
			     "toolarge:x:4294967295:1::/:\n"
			     "negative:x:-1:1::/:\n"
			     ":x:9:9::/nameless:\n"
			     "user:x:1000:100:,,,:/home/user:/bin/sh\r\n"
			     "user:x:2000:2000::/second:\n"
			     "homeless:x:1001:1001:::\n"
			     "four:x:1002:1002\n"
			     "1000:x:77:77::/digits:\n"
			     "last:x:1003:1003::/last";
static const char group[] = "root:x:0:\n"
			    "users:x:100:user\n"
			    "audio:x:29:other,user\n"
			    "video:x:44:user,user\n"
			    "again:x:29:user\n"
			    "bad:x:nine:user\n"
			    "staff:x:50:users,use,user2\n"
			    "three:x:51\n"
			    "last:x:60:other,last";

static int make_image(int root)
{
	put_file(root, "image/etc/passwd", passwd, 0644);
	put_file(root, "image/etc/group", group, 0644);
	return sub(root, "image");
}

static const struct {
	const char *text;
	unsigned uid, gid;
} owners[] = {
	{"1000", 1000, 1000}, /* 20 */
	{"0", 0, 0},
	{"4294967294", 4294967294, 4294967294},
	{"1234:5678", 1234, 5678},
	{"1000:audio", 1000, 29},
	{"user", 1000, 100}, /* 20: the primary group */
	{"user:audio", 1000, 29},
	{"user:44", 1000, 44},
	{"user:", 1000, 0}, /* 21 */
	{"1000:", 1000, 0},
	{"root", 0, 0},
	{"root:root", 0, 0},
	{"daemon", 1, 1},
	{"last:last", 1003, 60},
	{"four:three", 1002, 51},
	{"homeless", 1001, 1001},
};

static void point_20_owners_by_name_and_number(void **state)
{
	int image = make_image(*(int *)*state);
	struct dir_owner owner;
	struct err err = {0};

	for (size_t i = 0; i < array_size(owners); i++) {
		if (tree_owner_resolve(image, str_of(owners[i].text), &owner, &err) < 0)
			fail_msg("%s", err.text);
		if (owner.uid != owners[i].uid || owner.gid != owners[i].gid)
			fail_msg("%s is %u:%u", owners[i].text, owner.uid, owner.gid);
	}
	close(image);
}

static const struct {
	const char *text;
	enum err_kind kind;
	const char *message, *hint;
} refused[] = {
	{"nobody", ERR_MISSING, "there is no user \"nobody\" in /etc/passwd of the image",
		"RUN useradd -m nobody"},
	{"user:nogroup", ERR_MISSING, "there is no group \"nogroup\" in /etc/group",
		"RUN groupadd nogroup"},
	{"toolarge", ERR_MISSING, "toolarge", "useradd"},
	{"negative", ERR_MISSING, "negative", "useradd"},
	{"short", ERR_MISSING, "short", "useradd"},
	{"# a comment", ERR_MISSING, "# a comment", "useradd"},
	{"1000:bad", ERR_MISSING, "bad", "groupadd"},
	{"4294967295", ERR_INPUT, "4294967295 is too large", ""},
	{"99999999999999999999", ERR_INPUT, "too large", ""},
	{"user:4294967295", ERR_INPUT, "too large", ""},
	{"", ERR_INPUT, "does not name a user", "1000:1000"},
	{":", ERR_INPUT, "does not name a user", "1000:1000"},
	{":audio", ERR_INPUT, "does not name a user", ""},
	{"a:b:c", ERR_INPUT, "does not name a user", ""},
	{"-1", ERR_MISSING, "\"-1\"", ""},
};

static void point_21_unknown_names_are_never_root(void **state)
{
	int image = make_image(*(int *)*state);
	struct dir_owner owner = {5, 6};
	struct err err;

	for (size_t i = 0; i < array_size(refused); i++) {
		err_clear(&err);
		if (tree_owner_resolve(image, str_of(refused[i].text), &owner, &err) >= 0)
			fail_msg("%s: taken", refused[i].text);
		if (err.kind != refused[i].kind || !strstr(err.text, refused[i].message) ||
			!strstr(err.hint, refused[i].hint))
			fail_msg("%s: %s (%s)", refused[i].text, err.text, err.hint);
	}
	assert_int_equal(owner.uid, 5);
	close(image);
}

/* "uid:gid groups home" */
static const char *user_text(int image, const char *text)
{
	static char line[256];
	cleanup(tree_user_done) struct tree_user user = {0};
	struct err err = {0};
	size_t n;

	if (tree_user_resolve(image, str_of(text), &user, &err) < 0)
		fail_msg("%s", err.text);
	n = (size_t)snprintf(line, sizeof(line), "%u:%u", user.uid, user.gid);
	for (size_t i = 0; i < user.group_count; i++)
		n += (size_t)snprintf(line + n, sizeof(line) - n, " %u", user.groups[i]);
	snprintf(line + n, sizeof(line) - n, " %s", user.home);
	return line;
}

static void point_22_and_25_users_of_processes(void **state)
{
	int image = make_image(*(int *)*state);
	struct tree_user user = {0};
	struct err err = {0};

	assert_string_equal(user_text(image, ""), "0:0 /root");
	assert_string_equal(user_text(image, "root"), "0:0 /root");
	assert_string_equal(user_text(image, "user"), "1000:100 29 44 /home/user");
	assert_string_equal(user_text(image, "1000"), "1000:100 29 44 /home/user");
	assert_string_equal(user_text(image, "1234"), "1234:0 /");
	assert_string_equal(user_text(image, "user:audio"), "1000:29 /home/user");
	assert_string_equal(user_text(image, "user:7"), "1000:7 /home/user");
	assert_string_equal(user_text(image, "1234:7"), "1234:7 /");
	assert_string_equal(user_text(image, "homeless"), "1001:1001 /");
	assert_string_equal(user_text(image, "four"), "1002:1002 /");
	assert_string_equal(user_text(image, "last"), "1003:1003 60 /last");
	assert_true(tree_user_resolve(image, STR("nobody"), &user, &err) < 0);
	assert_int_equal(err.kind, ERR_MISSING);
	assert_non_null(strstr(err.hint, "useradd"));
	assert_null(user.home);
	close(image);
}

static void images_without_the_files(void **state)
{
	int root = *(int *)*state;
	struct dir_owner owner;
	struct err err = {0};

	put_dir(root, "image", 0755);
	int image = sub(root, "image");
	assert_int_equal(tree_owner_resolve(image, STR("root:root"), &owner, &err), 0);
	assert_int_equal(tree_owner_resolve(image, STR("5:6"), &owner, &err), 0);
	assert_true(tree_owner_resolve(image, STR("user"), &owner, &err) < 0);
	assert_int_equal(err.kind, ERR_MISSING);
	assert_string_equal(user_text(image, ""), "0:0 /");
	assert_string_equal(user_text(image, "root"), "0:0 /");
	assert_string_equal(user_text(image, "1000"), "1000:0 /");
	put_file(image, "etc", "a file", 0644);
	assert_string_equal(user_text(image, "1000"), "1000:0 /");
	close(image);
}

static void point_27_the_files_are_opened_with_care(void **state)
{
	int root = *(int *)*state;
	struct dir_owner owner;
	struct err err = {0};
	int image = make_image(root);

	/* A link that would lead to the host's file leads to the image's. */
	put_file(root, "outside", "host:x:4242:4242::/:\n", 0644);
	assert_int_equal(renameat(image, "etc/passwd", image, "real"), 0);
	put_link(image, "etc/passwd", "/../../real");
	assert_int_equal(tree_owner_resolve(image, STR("user"), &owner, &err), 0);
	assert_int_equal(unlinkat(image, "etc/passwd", 0), 0);
	put_link(image, "etc/passwd", "../../../outside");
	assert_true(tree_owner_resolve(image, STR("host"), &owner, &err) < 0);
	/* A FIFO does not block, a directory does not confuse, a huge file ends. */
	assert_int_equal(unlinkat(image, "etc/passwd", 0), 0);
	assert_int_equal(mkfifoat(image, "etc/passwd", 0644), 0);
	assert_true(tree_owner_resolve(image, STR("user"), &owner, &err) < 0);
	assert_string_equal(err.text, "/etc/passwd of the image is not a regular file");
	assert_int_equal(unlinkat(image, "etc/passwd", 0), 0);
	put_dir(image, "etc/passwd", 0755);
	assert_true(tree_owner_resolve(image, STR("user"), &owner, &err) < 0);
	assert_int_equal(err.kind, ERR_INPUT);
	assert_int_equal(unlinkat(image, "etc/passwd", AT_REMOVEDIR), 0);
	int fd = openat(image, "etc/passwd", O_WRONLY | O_CREAT, 0644);
	assert_int_equal(ftruncate(fd, 1 << 30), 0);
	close(fd);
	assert_true(tree_owner_resolve(image, STR("user"), &owner, &err) < 0);
	assert_int_equal(err.kind, ERR_LIMIT);
	assert_non_null(strstr(err.text, "/etc/passwd of the image"));
	close(image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		fixture_test(point_20_owners_by_name_and_number),
		fixture_test(point_21_unknown_names_are_never_root),
		fixture_test(point_22_and_25_users_of_processes),
		fixture_test(images_without_the_files),
		fixture_test(point_27_the_files_are_opened_with_care),
	};

	return cmocka_run_group_tests_name("owner", tests, NULL, NULL);
}
