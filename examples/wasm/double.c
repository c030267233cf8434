/* A worker: publishes the double of each record that it gets. docs/reference/wasm.md says how to build and run it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SKERRY(function) __attribute__((import_module("skerry"), import_name(function)))

SKERRY("next") int skerry_next(char *record, int capacity, int milliseconds);
SKERRY("publish") int skerry_publish(const char *record, int length);

int main(void) {
  static char record[256 * 1024], answer[256];
  for (;;) {
    int length = skerry_next(record, sizeof record - 1, -1);
    if (length <= 0 || length >= (int)sizeof record) return 1;
    record[length] = 0;
    const char *value = strstr(record, "\"value\":");
    if (value == NULL) continue;
    double number = strtod(value + 8, NULL);
    int written = snprintf(answer, sizeof answer, "{\"name\": \"doubled\", \"value\": %g}", 2 * number);
    if (skerry_publish(answer, written) != 0) fputs("the node refused a record\n", stderr);
  }
}
