/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/output.h"

/*
 * States of ECMA-48 §5.3–5.6 and 8.3: ESC begins a sequence of intermediate bytes and one
 * final byte; CSI one of parameter, intermediate and one final byte; OSC, DCS, SOS, PM and APC
 * a string that ST (ESC \) or, as xterm has it, BEL ends. A line feed ends whatever is open,
 * and so does a string's STRING_MAX: a lost terminator may not swallow the rest of a log.
 */
enum { GROUND, ESCAPE, SEQUENCE, STRING, STRING_ESCAPE };
enum { STRING_MAX = 4096 };

static unsigned char state_after_escape(unsigned char c)
{
	switch (c) {
	case '[':
		return SEQUENCE;
	case ']':
	case 'P':
	case 'X':
	case '^':
	case '_':
		return STRING;
	default:
		return c >= 0x20 && c <= 0x2f ? ESCAPE : GROUND;
	}
}

/* The 8-bit forms: C1 controls, U+0080 to U+009F, are ESC and the byte 0x40 lower. */
static unsigned char state_after_c1(uint32_t c)
{
	return state_after_escape((unsigned char)(c - 0x40));
}

static void string_byte(struct strip *s, unsigned char c)
{
	if (s->state == STRING_ESCAPE) {
		/* ESC and anything but ST's second byte: the string was given up for another. */
		s->state = c == '\\' ? GROUND : state_after_escape(c);
		s->skipped = 0;
	} else if (c == 0x07 || c == 0x18 || c == 0x1a || ++s->skipped > STRING_MAX) {
		s->state = GROUND;
	} else if (c == 0x1b) {
		s->state = STRING_ESCAPE;
	}
}

static bool is_bidi_control(uint32_t c)
{
	return c == 0x061c || (c >= 0x200e && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
	       (c >= 0x2066 && c <= 0x2069);
}

/* How many bytes the character has that begins with c; 0: c begins none (RFC 3629). */
static unsigned char_length(unsigned char c)
{
	if (c >= 0xc2 && c <= 0xdf)
		return 2;
	if (c >= 0xe0 && c <= 0xef)
		return 3;
	return c >= 0xf0 && c <= 0xf4 ? 4 : 0;
}

/* May c follow the held bytes? */
static bool is_continuation(const struct strip *s, unsigned char c)
{
	unsigned char low = 0x80, high = 0xbf;

	if (s->held_count == 1) {
		switch (s->held[0]) {
		case 0xe0:
			low = 0xa0;
			break;
		case 0xed:
			high = 0x9f;
			break;
		case 0xf0:
			low = 0x90;
			break;
		case 0xf4:
			high = 0x8f;
			break;
		default:
			break;
		}
	}
	return c >= low && c <= high;
}

static void whole_char(struct strip *s, struct buf *ret)
{
	static const unsigned char masks[] = {0, 0, 0x1f, 0x0f, 0x07};
	uint32_t c = s->held[0] & masks[s->held_count];

	for (unsigned i = 1; i < s->held_count; i++)
		c = c << 6 | (s->held[i] & 0x3f);
	if (c >= 0x80 && c <= 0x9f) {
		s->state = state_after_c1(c);
		s->skipped = 0;
	} else if (is_bidi_control(c)) {
		buf_add_char(ret, '?');
	} else {
		buf_add(ret, s->held, s->held_count);
	}
	s->held_count = 0;
}

static void ground_byte(struct strip *s, unsigned char c, struct buf *ret)
{
	if (s->held_count > 0) {
		if (is_continuation(s, c)) {
			s->held[s->held_count++] = c;
			if (s->held_count == char_length(s->held[0]))
				whole_char(s, ret);
			return;
		}
		buf_add_char(ret, '?');
		s->held_count = 0;
	}
	if (c == 0x1b) {
		s->state = ESCAPE;
	} else if (c < 0x80) {
		if ((c >= 0x20 && c < 0x7f) || c == '\r' || c == '\t')
			buf_add_char(ret, (char)c);
	} else if (char_length(c) > 0) {
		s->held[s->held_count++] = c;
	} else {
		buf_add_char(ret, '?');
	}
}

static void strip_byte(struct strip *s, unsigned char c, struct buf *ret)
{
	switch (s->state) {
	case ESCAPE:
		if (c != 0x1b)
			s->state = state_after_escape(c);
		s->skipped = 0;
		break;
	case SEQUENCE:
		if (c == 0x1b)
			s->state = ESCAPE;
		else if (c < 0x20 || c > 0x3f)
			s->state = GROUND;
		break;
	case STRING:
	case STRING_ESCAPE:
		string_byte(s, c);
		break;
	default:
		ground_byte(s, c, ret);
	}
}

void strip_feed(struct strip *s, struct str bytes, struct buf *ret)
{
	for (size_t i = 0; i < bytes.n; i++) {
		unsigned char c = (unsigned char)bytes.p[i];
		if (c != '\n') {
			strip_byte(s, c, ret);
			continue;
		}
		if (s->held_count > 0)
			buf_add_char(ret, '?');
		*s = (struct strip){0};
		buf_add_char(ret, '\n');
	}
}

void output_one_line(struct buf *ret, struct str text)
{
	struct strip strip = {0};
	size_t start = ret->len;

	strip_feed(&strip, text, ret);
	for (size_t i = start; i < ret->len; i++)
		if ((unsigned char)ret->data[i] < ' ')
			ret->data[i] = ' ';
	if (strip.held_count > 0)
		buf_add_char(ret, '?');
}

void output_lines_done(struct output_lines *lines)
{
	buf_done(&lines->line);
}

static void line_char(struct output_lines *lines, char c)
{
	if (c == '\r') {
		lines->returned = true;
		return;
	}
	if (lines->returned)
		buf_clear(&lines->line);
	lines->returned = false;
	if (c != '\t') {
		buf_add_char(&lines->line, c);
		return;
	}
	do
		buf_add_char(&lines->line, ' ');
	while (lines->line.len % 8 != 0);
}

static void line_over(struct output_lines *lines, output_line_fn *fn, void *arg)
{
	fn(arg, buf_str(&lines->line));
	buf_clear(&lines->line);
	lines->returned = false;
}

void output_lines_feed(struct output_lines *lines, struct str bytes, output_line_fn *fn, void *arg)
{
	cleanup(buf_done) struct buf text = {0};

	strip_feed(&lines->strip, bytes, &text);
	for (size_t i = 0; i < text.len; i++) {
		char c = text.data[i];
		bool begins_char = ((unsigned char)c & 0xc0) != 0x80;
		if (c == '\n') {
			line_over(lines, fn, arg);
			continue;
		}
		if (lines->line.len >= OUTPUT_LINE_MAX && begins_char && !lines->returned)
			line_over(lines, fn, arg);
		line_char(lines, c);
	}
}

void output_lines_end(struct output_lines *lines, output_line_fn *fn, void *arg)
{
	if (lines->strip.held_count > 0)
		line_char(lines, '?');
	if (lines->line.len > 0)
		line_over(lines, fn, arg);
	buf_clear(&lines->line);
	lines->strip = (struct strip){0};
	lines->returned = false;
}
