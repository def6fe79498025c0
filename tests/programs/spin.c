/*
 * spin: a CPU hog, for the scheduler. It makes no system call but clock_gettime, every so often, and counts the gaps
 * in which it did not run.
 *
 *     spin [name=1] [ms=200] [gap=1500] [expect=0]
 *
 * Runs for `ms` milliseconds of the clock. A gap is a stretch of work that took `gap` microseconds longer than the
 * quickest one. The first gaps are printed. Fails when there were fewer than `expect` of them: with two of them on one
 * CPU, expect=2 shows that a process that never yields is preempted.
 */
#include "start.h"

enum { PRINTED = 3 };

static void work(void)
{
    for (volatile int i = 0; i < 5000; i++)
        ;
}

int main(int argc, char **argv)
{
    word name = option(argv, "name", 1);
    word ms = option(argv, "ms", 200), gap = option(argv, "gap", 1500) * 1000, expect = option(argv, "expect", 0);
    word start = now(), last = start, quickest = -1ul, gaps = 0, away = 0, longest = 0, laps = 0;
    (void)argc;

    say("%lu: begins", name);
    while (last - start < ms * 1000000) {
        work();
        word time = now(), lap = time - last;
        CHECK(time >= last, "the clock went back from %lu to %lu", last, time);
        quickest = lap < quickest ? lap : quickest;
        if (laps++ && lap - quickest > gap) {
            away += lap - quickest;
            longest = lap > longest ? lap : longest;
            if (++gaps <= PRINTED)
                say("%lu: preempted at %lu us for %lu us", name, (last - start) / 1000, lap / 1000);
            time = now();
        }
        last = time;
    }
    say("%lu: %lu laps, %lu gaps, away %lu of %lu us, longest %lu us", name, laps, gaps, away / 1000,
        (last - start) / 1000, longest / 1000);
    CHECK(gaps >= expect, "%lu gaps, expected at least %lu", gaps, expect);
    return finish();
}
