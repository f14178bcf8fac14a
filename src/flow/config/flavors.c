/* SPDX-License-Identifier: Apache-2.0 */
#include "config/internal.h"

#include "base/suggest.h"

/* Hugging Face's list of Spaces hardware, as of August 2026. */
static const struct flavor flavors[] = {
	/* name, vCPU, RAM, accelerator, GPUs, VRAM, disk, price */
	{"cpu-basic", 2, 16, "", 0, 0, 50, 0},
	{"cpu-upgrade", 8, 32, "", 0, 0, 50, 30},
	{"t4-small", 4, 15, "Nvidia T4", 1, 16, 50, 400},
	{"t4-medium", 8, 30, "Nvidia T4", 1, 16, 100, 600},
	{"l4x1", 8, 30, "Nvidia L4", 1, 24, 400, 800},
	{"l4x4", 48, 186, "Nvidia L4", 4, 96, 3200, 3800},
	{"l40sx1", 8, 62, "Nvidia L40S", 1, 48, 380, 1800},
	{"l40sx4", 48, 382, "Nvidia L40S", 4, 192, 3200, 8300},
	{"l40sx8", 192, 1534, "Nvidia L40S", 8, 384, 6500, 23500},
	{"a10g-small", 4, 15, "Nvidia A10G", 1, 24, 110, 1000},
	{"a10g-large", 12, 46, "Nvidia A10G", 1, 24, 200, 1500},
	{"a10g-largex2", 24, 92, "Nvidia A10G", 2, 48, 1000, 3000},
	{"a10g-largex4", 48, 184, "Nvidia A10G", 4, 96, 2000, 5000},
	{"a100-large", 12, 142, "Nvidia A100", 1, 80, 1000, 2500},
	{"a100x4", 48, 568, "Nvidia A100", 4, 320, 4000, 10000},
	{"a100x8", 96, 1136, "Nvidia A100", 8, 640, 8000, 20000},
};

static const struct {
	const char *name, *remark;
} others[] = {
	{"zero-a10g", "ZeroGPU works for Gradio Spaces only"},
	{"h100", "was withdrawn in December 2025"},
	{"h100x8", "was withdrawn in December 2025"},
	{"cpu-performance", "is a flavor whose size Hugging Face does not publish"},
	{"cpu-xl", "is a flavor whose size Hugging Face does not publish"},
	{"sprx8", "is a flavor whose size Hugging Face does not publish"},
	{"inf2x6", "is a flavor whose size Hugging Face does not publish"},
};

const struct flavor *flavor_at(size_t index)
{
	return index < array_size(flavors) ? &flavors[index] : NULL;
}

const struct flavor *flavor_find(struct str name)
{
	for (size_t i = 0; i < array_size(flavors); i++)
		if (str_is(name, flavors[i].name))
			return &flavors[i];
	return NULL;
}

const char *flavor_remark(struct str name)
{
	for (size_t i = 0; i < array_size(others); i++)
		if (str_is(name, others[i].name))
			return others[i].remark;
	return NULL;
}

int flavor_parse(struct str name, const struct flavor **ret, struct err *err)
{
	const struct flavor *hit = flavor_find(name);
	const char *remark = flavor_remark(name);
	struct suggest near = {.written = name};
	cleanup(buf_done) struct buf names = {0};

	if (hit) {
		*ret = hit;
		return 0;
	}
	for (size_t i = 0; i < array_size(flavors); i++) {
		suggest_offer(&near, flavors[i].name);
		buf_printf(&names, "%s%s", i ? ", " : "", flavors[i].name);
	}
	struct str head = str_head(name, 64);
	if (remark)
		(void)err_set(err, ERR_INPUT, "hardware flavor %.*s: %s", STR_ARG(head), remark);
	else
		(void)err_set(err, ERR_INPUT, "unknown hardware flavor \"%.*s\"", STR_ARG(head));
	if (near.best)
		(void)err_hint_add(err, "did you mean %s?", near.best);
	return err_hint_add(err, "flavors: %s", buf_text(&names));
}
