import Foundation

/// What a self-test found: how far this device is from the machine that exported the model.
public struct SelfTest: Sendable {
    public let info: ModelInfo
    public let outputs: [OutputDifference]
    /// Empty where the task has no frames, or the bundle none.
    public var frames: [FrameDifference] = []
    /// Samples for which another value is the largest; nil where no output decides.
    public let decisionsChanged: Int?
    /// Golden rows of the router's table that are decided in another way than where it was made.
    public var routesWrong = 0

    /// The largest difference of an output from its golden values, and the sample that has it.
    public struct OutputDifference: Sendable {
        public let name: String
        public let largestDifference: Double
        public let tolerance: Double
        public let worstSample: Int

        /// Whether the difference is within the tolerance; NaN never is.
        public var ok: Bool { largestDifference <= tolerance }
    }

    /// The largest difference of a prepared frame from its golden pixels, in steps of 1/255.
    public struct FrameDifference: Sendable {
        public let index: Int
        public let largestDifference: Int

        /// Frames are prepared in integers, so nothing may differ.
        public var ok: Bool { largestDifference == 0 }
    }

    /// Whether everything is within its tolerance.
    public var ok: Bool { outputs.allSatisfy(\.ok) && frames.allSatisfy(\.ok) && routesWrong == 0 }

    /// The result in words, a line for each part.
    public func describe() -> String {
        let runtime = [info.runtime, info.version].compactMap { $0 }.joined(separator: " ")
        var lines = ["\(info.artifact) on \(runtime) (\(info.delegate)): \(ok ? "ok" : "FAILED")"]
        for output in outputs {
            let verdict = output.ok ? "ok" : "FAILED, most in sample \(output.worstSample)"
            lines.append(
                "  \(output.name): largest difference \(output.largestDifference), "
                    + "allowed \(output.tolerance): \(verdict)"
            )
        }
        for frame in frames {
            let verdict = frame.ok ? "ok" : "FAILED: frames are prepared in another way than in training"
            lines.append("  frame \(frame.index): largest difference \(frame.largestDifference) of 255: \(verdict)")
        }
        if routesWrong > 0 {
            lines.append("  router: FAILED: \(routesWrong) row(s) of its table are decided in another way")
        }
        if let decisionsChanged, decisionsChanged > 0 {
            lines.append("  \(decisionsChanged) decision(s) changed")
        }
        return lines.joined(separator: "\n")
    }
}

/// Compares outputs with golden ones, sample by sample.
struct Comparison {
    let tolerance: [String: Double]
    let decision: String?
    private var worst: [String: (difference: Double, sample: Int)] = [:]
    private var changed = 0

    init(tolerance: [String: Double], decision: String?) {
        self.tolerance = tolerance
        self.decision = decision
    }

    /// An output without a tolerance in the manifest may not differ at all.
    var outputs: [SelfTest.OutputDifference] {
        worst.sorted { $0.key < $1.key }.map {
            SelfTest.OutputDifference(
                name: $0.key, largestDifference: $0.value.difference, tolerance: tolerance[$0.key] ?? 0,
                worstSample: $0.value.sample)
        }
    }

    var decisionsChanged: Int? { decision == nil ? nil : changed }

    mutating func add(_ sample: Int, _ name: String, found: [Double], expected: [Double]) throws {
        guard found.count == expected.count else {
            throw ModelError.bundle(
                "found \(found.count) values of \(name), expected \(expected.count); get the bundle again")
        }
        var largest = 0.0
        for (left, right) in zip(found, expected) where left != right {
            let difference = abs(left - right)
            // NaN is the largest of all, and no comparison finds it.
            if difference.isNaN || difference > largest { largest = difference }
            if largest.isNaN { break }
        }
        let known = worst[name]
        if known == nil || (largest.isNaN && !known!.difference.isNaN) || largest > known!.difference {
            worst[name] = (largest, sample)
        }
        if name == decision, largestIndex(found) != largestIndex(expected) { changed += 1 }
    }
}

/// The place of the largest value, the first of equal ones.
func largestIndex(_ values: [Double]) -> Int {
    values.indices.reduce(0) { values[$1] > values[$0] ? $1 : $0 }
}
