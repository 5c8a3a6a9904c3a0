/* gateway/object/collect.c */
#include "gateway/object/store.h"
void *
store_background(void *arg)
{
	return arg;
}
