// Definitions that a newer compiler's headers call and an older system's libraries lack: with them
// a library built on Debian bookworm loads on bullseye (glibc 2.31, libstdc++ of GCC 10) too.
#include <new>

#if defined(__GLIBCXX__) && defined(__linux__)

// glibc 2.32: whether shared_ptr may count without atomic operations. It may not.
extern "C" char __libc_single_threaded;
char __libc_single_threaded = 0;

// GCC 11: what a vector of too many elements throws.
namespace std {
[[noreturn]] void __throw_bad_array_new_length();
void __throw_bad_array_new_length() { throw std::bad_array_new_length(); }
}  // namespace std

#endif
