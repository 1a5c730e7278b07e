#pragma once

namespace uz {
enum Isa { generic = 0, avx2 = 1, avx512 = 2, neon = 3 };
}
