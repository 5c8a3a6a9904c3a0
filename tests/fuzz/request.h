/* One request through auth_parse() and auth_verify(). */
#ifndef FUZZ_REQUEST_H
#define FUZZ_REQUEST_H

#include "auth/auth.h"

static inline void
fuzz_request(const struct auth_input *in)
{
	struct arena *a = arena_new(8u << 20);
	struct err e = ERR_INIT;
	struct auth au;
	int rc;

	MUST(a != NULL);
	rc = auth_parse(in, a, &au, &e);
	if (rc == 0 && au.kind != AUTH_ANONYMOUS) {
		MUST(au.access_key.len > 0 && au.signature.len > 0);
		rc = auth_verify(&au, NULL, a, &e);
		MUST(rc < 0); /* nobody gets in with an unknown key */
		rc = auth_verify(&au,
		    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", a, &e);
		MUST(rc == 0 || au.string_to_sign.len > 0 ||
		     e.code != ERR_SIGNATURE_DOES_NOT_MATCH);
	}
	MUST(rc == 0 || (e.code == rc && e.msg[0] != '\0'));
	arena_free(&a);
}

#endif
