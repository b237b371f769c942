import Foundation

// When a warm-up is over, and how well a median is known: the rules of docs/measuring.md.

private let windows = 8

/// The two-sided limit of the normal distribution at a significance of 0.1.
private let noTrend = 1.6448536269514722

func median(_ values: [Double]) -> Double {
    let ordered = values.sorted()
    let middle = ordered.count / 2
    return ordered.count % 2 == 1 ? ordered[middle] : (ordered[middle - 1] + ordered[middle]) / 2
}

/// Whether the halves of the last 8 medians differ little, or the Mann-Kendall test finds no trend in them.
func isSteady(_ medians: [Double], tolerance: Double) -> Bool {
    guard medians.count >= windows else { return false }
    let last = Array(medians.suffix(windows))
    let (before, after) = (median(Array(last.prefix(windows / 2))), median(Array(last.suffix(windows / 2))))
    if abs(after - before) <= tolerance * before { return true }
    var s = 0
    for (index, earlier) in last.enumerated() {
        for later in last[(index + 1)...] {
            s += later > earlier ? 1 : later < earlier ? -1 : 0
        }
    }
    let n = Double(windows)
    let counts = Dictionary(grouping: last) { $0 }.values.map { Double($0.count) }
    let ties = counts.map { $0 * ($0 - 1) * (2 * $0 + 5) }.reduce(0, +)
    let variance = (n * (n - 1) * (2 * n + 5) - ties) / 18
    return s == 0 || variance == 0 || Double(abs(s) - 1) / variance.squareRoot() < noTrend
}

/// Half of the 95% interval of the median of `ordered`, as a share of the median; infinite for too few.
func relativeHalfWidth(_ ordered: [Int]) -> Double {
    let rank = lowerRank(ordered.count)
    guard rank > 0 else { return .infinity }
    let median = ordered[ordered.count / 2]
    return Double(ordered[ordered.count - rank] - ordered[rank - 1]) / 2 / Double(median)
}

/// The rank of the lower end of that interval, by the binomial distribution; 0 where `n` is too small.
func lowerRank(_ n: Int) -> Int {
    let count = Double(n)
    // Rounding errors must not make the interval too narrow.
    let allowed = 0.025 * (1 - 1e-9)
    // Less than 1e-30 lies beyond 12 standard deviations.
    var rank = Int(max(0, (count * 0.5 - 12 * (count * 0.25).squareRoot()).rounded(.down)))
    var ways = 0.0
    for k in 0..<rank {
        ways += log(Double(n - k)) - log(Double(k + 1))
    }
    var chance = exp(ways + count * log(0.5))
    var below = chance
    while below <= allowed {
        chance *= Double(n - rank) / Double(rank + 1)
        rank += 1
        below += chance
    }
    return rank
}
