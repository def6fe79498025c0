/*
 * tick: sleeps again and again, and measures by how much it wakes too late.
 *
 *     tick [ticks=10] [ms=10] [late=0]
 *
 * No sleep may end early. With late=N none may end more than N milliseconds late: beside CPU hogs this shows that a
 * process that wakes gets its turn.
 */
#include "start.h"

int main(int argc, char **argv)
{
    word ticks = option(argv, "ticks", 10), period = option(argv, "ms", 10) * 1000000;
    word late = option(argv, "late", 0) * 1000000, worst = 0;
    (void)argc;

    for (word tick = 1; tick <= ticks; tick++) {
        word before = now();
        CHECK_EQ(sleep_ns(period), 0, "nanosleep");
        word slept = now() - before;
        CHECK(slept >= period, "tick %lu: slept %lu ns of %lu", tick, slept, period);
        worst = slept > period && slept - period > worst ? slept - period : worst;
    }
    say("%lu ticks of %lu us, at worst %lu us late", ticks, period / 1000, worst / 1000);
    CHECK(!late || worst <= late, "%lu us late, allowed %lu us", worst / 1000, late / 1000);
    return finish();
}
