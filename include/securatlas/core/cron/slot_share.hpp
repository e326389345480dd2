// How many workers one role may have at a time.
#pragma once

namespace securatlas::core {

// Whether a role whose runs use `used` slots may have one more while `free` are free. A role that
// uses none always may. Any other role may use up to seven times as many as then stay free, and
// never the last one (a dynamic threshold after Choudhury and Hahne, 1998). So one busy role gets
// seven eighths of the slots, a role that comes later finds a free one, and several busy roles get
// equal shares.
constexpr bool may_have_slot(int used, int free) { return used == 0 || used < 7 * (free - 1); }

}  // namespace securatlas::core
