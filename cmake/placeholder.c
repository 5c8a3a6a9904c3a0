/* Stands in for a layer that has no sources yet. */
extern int creel_placeholder;
int creel_placeholder;
