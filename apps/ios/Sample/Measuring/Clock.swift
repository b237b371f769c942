import Foundation

/// The clocks of the records, in nanoseconds.
enum Clock {
    /// Time that all durations are taken from. Nobody sets or slows it, and it stands still while the phone sleeps, as
    /// inferences do.
    static func monotonic() -> Int {
        #if canImport(Darwin)
        return Int(clock_gettime_nsec_np(CLOCK_UPTIME_RAW))
        #else
        return read(CLOCK_MONOTONIC)
        #endif
    }

    /// The same with the time that the phone slept (CLOCK_MONOTONIC_RAW of Apple's systems): beside the other one it
    /// shows whether the phone slept between two records.
    static func boottime() -> Int {
        #if canImport(Darwin)
        return Int(clock_gettime_nsec_np(CLOCK_MONOTONIC_RAW))
        #else
        return read(CLOCK_BOOTTIME)
        #endif
    }

    /// The wall clock, since 1970.
    static func wall() -> Int { Int(Date().timeIntervalSince1970 * 1e6) * 1000 }

    #if !canImport(Darwin)
    private static func read(_ clock: clockid_t) -> Int {
        var time = timespec()
        clock_gettime(clock, &time)
        return time.tv_sec * 1_000_000_000 + time.tv_nsec
    }
    #endif
}
