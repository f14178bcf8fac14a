/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/number.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "sandbox/sandbox.h"
#include "json/json.h"

struct doctor_values {
	struct common_options common;
	bool json;
};

static const struct option_spec own_options[] = {
	{"json", 0, OPTION_FLAG, offsetof(struct doctor_values, json), NULL, "print JSON", NULL,
		COMPLETE_NOTHING},
};

enum { MAX_ROWS = 48 };

/* Less than this is not enough for an image with PyTorch. */
#define DISK_WANTED (UINT64_C(10) * 1000 * 1000 * 1000)

struct doctor {
	struct sandbox_requirement rows[MAX_ROWS];
	size_t count;
};

static struct sandbox_requirement *add_row(struct doctor *d, const char *name, bool needed)
{
	struct sandbox_requirement *row = &d->rows[d->count++];

	*row = (struct sandbox_requirement){.name = name, .needed = needed};
	return row;
}

static void fill_from(struct sandbox_requirement *row, const struct err *err)
{
	snprintf(row->detail, sizeof(row->detail), "%s", err->text);
	snprintf(row->remedy, sizeof(row->remedy), "%s", err->hint);
}

static bool check_settings(struct invocation *inv, struct doctor *d, struct settings *ret)
{
	struct sandbox_requirement *row = add_row(d, "configuration", true);
	struct err err = {0};

	if (invocation_settings(inv, ret, &err) < 0) {
		fill_from(row, &err);
		return false;
	}
	row->found = true;
	snprintf(row->detail, sizeof(row->detail), "%s", ret->file ? ret->file : "none, defaults");
	return true;
}

static void check_disk(struct doctor *d, int data_fd)
{
	struct sandbox_requirement *row = add_row(d, "disk space", false);
	struct statvfs st;
	char size[32];

	if (fstatvfs(data_fd, &st) < 0) {
		snprintf(row->detail, sizeof(row->detail), "%s", strerror(errno));
		return;
	}
	uint64_t room = (uint64_t)st.f_bavail * st.f_frsize;
	row->found = room >= DISK_WANTED;
	snprintf(row->detail, sizeof(row->detail), "%s free", print_size(size, room));
	if (!row->found)
		snprintf(row->remedy, sizeof(row->remedy),
			"a large image needs more: set data in spaceport.yaml to a larger disk");
}

static void check_data(struct doctor *d, const struct settings *settings)
{
	struct sandbox_requirement *row = add_row(d, "state directory", true);
	struct err err = {0};
	cleanup_close int fd = settings_open_data(settings, &err);

	if (fd < 0) {
		fill_from(row, &err);
		return;
	}
	row->found = true;
	snprintf(row->detail, sizeof(row->detail), "%s", settings->data);
	check_disk(d, fd);
}

static void run_checks(struct invocation *inv, struct doctor *d)
{
	struct settings settings = {0};
	bool has_settings = check_settings(inv, d, &settings);

	if (has_settings)
		check_data(d, &settings);
	d->count += sandbox_check(
		has_settings ? settings.runtime : NULL, d->rows + d->count, MAX_ROWS - d->count);
}

/* ---- Telling it ---- */

static void print_row(const struct sandbox_requirement *row, size_t width, const struct terminal *t,
	struct buf *ret)
{
	enum style style = row->found ? STYLE_GREEN : row->needed ? STYLE_RED : STYLE_YELLOW;
	struct str remedy = str_of(row->remedy);

	terminal_add(ret, t, style, str_of(row->found ? "✓" : row->needed ? "✗" : "!"));
	buf_printf(ret, " %s", row->name);
	text_pad(ret, width + 2 - text_width(str_of(row->name)));
	output_one_line(ret, str_of(row->detail));
	buf_add_char(ret, '\n');
	while (!row->found && remedy.n > 0) {
		text_pad(ret, width + 4);
		output_one_line(ret, str_cut(&remedy, '\n'));
		buf_add_char(ret, '\n');
	}
}

static void print_rows(const struct doctor *d, const struct terminal *t, struct buf *ret)
{
	size_t widest = 0;

	for (size_t i = 0; i < d->count; i++) {
		size_t width = text_width(str_of(d->rows[i].name));
		if (width > widest)
			widest = width;
	}
	for (size_t i = 0; i < d->count; i++)
		print_row(&d->rows[i], widest, t, ret);
}

static void print_json(const struct doctor *d, struct buf *ret)
{
	struct json_writer w = json_writer_to(ret);

	json_begin_array(&w);
	for (size_t i = 0; i < d->count; i++) {
		const struct sandbox_requirement *row = &d->rows[i];
		json_begin_object(&w);
		json_add_text(&w, "name", row->name);
		json_add_bool(&w, "found", row->found);
		json_add_bool(&w, "needed", row->needed);
		json_add_text(&w, "detail", row->detail);
		json_add_text(&w, "remedy", row->remedy);
		json_end_object(&w);
	}
	json_end_array(&w);
	json_line(&w);
}

static int doctor_main(struct invocation *inv, struct err *err)
{
	const struct doctor_values *values = inv->values;
	cleanup(buf_done) struct buf text = {0};
	struct doctor d = {0};
	size_t lacking = 0;

	run_checks(inv, &d);
	if (values->json)
		print_json(&d, &text);
	else
		print_rows(&d, &inv->out, &text);
	int r = print_result(&text, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < d.count; i++)
		lacking += d.rows[i].needed && !d.rows[i].found;
	if (lacking == 0)
		return 0;
	return err_set(err, ERR_HOST, "%zu of what is needed %s missing", lacking,
		lacking == 1 ? "is" : "are");
}

const struct cli_command cmd_doctor = {
	.name = "doctor",
	.summary = "check what this host has and lacks",
	.operands = "",
	.about = "Checks everything that building and running needs, and says of what is missing "
		 "which command brings it. ✗ is needed; ! only limits something.",
	.groups = {{"Options", own_options, array_size(own_options), 0}, COMMON_GROUP},
	.values_size = sizeof(struct doctor_values),
	.run = doctor_main,
};
