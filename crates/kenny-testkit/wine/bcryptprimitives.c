/*
 * Wine 8 lacks bcryptprimitives.dll, whose one function Rust's standard library calls for random bytes.
 * This forwards it to the random generator of advapi32 (SystemFunction036, documented as RtlGenRandom).
 */
#include <windows.h>
#include <ntsecapi.h>

BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T length)
{
    const ULONG most = 0x40000000;
    while (length > 0) {
        ULONG chunk = length > most ? most : (ULONG)length;
        if (!RtlGenRandom(data, chunk))
            return FALSE;
        data += chunk;
        length -= chunk;
    }
    return TRUE;
}
