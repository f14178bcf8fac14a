/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fields.h"
#include "run/health.h"
#include "run/internal.h"

static struct str cut(struct str text)
{
	return str_slice(text, 0, MESSAGE_TEXT_MAX);
}

void message_print(const struct message *message, struct buf *ret)
{
	buf_add_u32(ret, message->kind);
	buf_add_u32(ret, (uint32_t)message->status);
	buf_add_u32(ret, message->error);
	buf_add_u32(ret, message->was_asked);
	buf_add_field(ret, cut(message->text));
	buf_add_field(ret, cut(message->hint));
}

bool message_parse(struct str bytes, struct message *ret)
{
	struct fields f = {.rest = bytes};
	uint32_t kind = fields_u32(&f), status = fields_u32(&f), error = fields_u32(&f),
		 was_asked = fields_u32(&f);

	*ret = (struct message){
		.kind = (enum message_kind)kind,
		.status = (int)status,
		.error = (enum err_kind)error,
		.was_asked = was_asked != 0,
		.text = fields_str(&f),
		.hint = fields_str(&f),
	};
	bool tells_health = kind == MESSAGE_HEALTH || kind == MESSAGE_STARTED;
	return !f.bad && (!tells_health || status <= HEALTH_UNHEALTHY) && f.rest.n == 0 &&
	       kind <= MESSAGE_ENDED && error <= ERR_BUG && ret->text.n <= MESSAGE_TEXT_MAX &&
	       ret->hint.n <= MESSAGE_TEXT_MAX;
}
