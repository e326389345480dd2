// How many workers one role may have at a time.
#pragma once

namespace securatlas::core {

// Whether a role whose runs have `used` slots may have one more while `free` are free. A role
// without any always may. Else it may have seven times as many as stay free (a dynamic threshold,
// as Choudhury and Hahne's), and never the last one: alone it comes to seven eighths, whoever comes
// later finds a slot, and roles that all have much to do come to the same number.
constexpr bool may_have_slot(int used, int free) { return used == 0 || used < 7 * (free - 1); }

}  // namespace securatlas::core
