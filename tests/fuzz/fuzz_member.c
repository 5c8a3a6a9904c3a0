/* What members of a group say to each other, and what they keep. Input: one byte
 * that chooses the decoder, then what a peer sends. What decodes must encode to
 * what decodes to the same.
 * LINK: creel_replication */
#include "storage/replication/member_int.h"

static void
message(struct str s)
{
	static struct mmsg h, h2;
	struct buf b = BUF_CAP(1 << 20), b2 = BUF_CAP(1 << 20);
	struct unpack u = unpack_of(s);

	if (msg_unpack(&u, &h, NULL) < 0)
		return;
	MUST(msg_pack(&h, &b) == 0);
	u = unpack_of(buf_str(&b));
	MUST(msg_unpack(&u, &h2, NULL) == 0);
	MUST(msg_pack(&h2, &b2) == 0);
	MUST(str_eq(buf_str(&b), buf_str(&b2)));
	buf_fini(&b);
	buf_fini(&b2);
}

/* Packed, read and packed again it is the same. */
static void
same(const struct mship *p)
{
	static struct mship again;
	struct buf b = BUF_CAP(1 << 20), b2 = BUF_CAP(1 << 20);
	struct unpack u;

	MUST(mship_pack(p, &b) == 0);
	u = unpack_of(buf_str(&b));
	mship_unpack(&u, &again);
	MUST(!u.is_bad && mship_pack(&again, &b2) == 0);
	MUST(str_eq(buf_str(&b), buf_str(&b2)));
	buf_fini(&b);
	buf_fini(&b2);
}

static void
membership(struct str s)
{
	static struct mship p, next;
	struct change c = { .kind = CHANGE_JOIN };
	struct unpack u = unpack_of(s);
	struct id128 lost;

	mship_unpack(&u, &p);
	if (u.is_bad)
		return;
	same(&p);
	/* Any change of it is a membership again. */
	c.who.server_id = s.len % 7;
	c.who.node.b[0] = (uint8_t)s.p[s.len - 1];
	for (int kind = CHANGE_JOIN; kind <= CHANGE_REMOVE; kind++) {
		c.kind = (enum change_kind)kind;
		if (change_apply(&p, &c, &next, &lost, NULL) == 0)
			same(&next);
	}
}

static void
promise(struct str s)
{
	static struct mstate st, sum;
	struct unpack u = unpack_of(s);

	memset(&st, 0, sizeof(st));
	memset(&sum, 0, sizeof(sum));
	paxos_unpack(&u, &st);
	if (!u.is_bad)
		paxos_merge(&sum, &st);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str body;

	if (size < 2)
		return 0;
	body = str_mem(data + 1, size - 1);
	switch (data[0] % 3) {
	case 0:
		message(body);
		break;
	case 1:
		membership(body);
		break;
	default:
		promise(body);
		break;
	}
	return 0;
}
