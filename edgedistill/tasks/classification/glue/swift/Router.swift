import Foundation

/// Which answers a larger model, the teacher, has to give instead: the decision table of the bundle.
public struct Router: Sendable {
    private let table: Table?
    private let threshold: Double?

    /// - Parameters:
    ///   - bundle: Its manifest may have a table.
    ///   - artifact: The name of the artifact that answers, whose threshold counts.
    /// - Throws: `ModelError.bundle` where the table is damaged, or of newer code.
    init(_ bundle: BundleFolder, artifact: String) throws {
        table = try Manifest.decode(Entry.self, from: bundle.manifestData).router
        guard let table else {
            threshold = nil
            return
        }
        guard Self.measures[table.by] != nil else {
            let known = Self.measures.keys.sorted().joined(separator: ", ")
            throw ModelError.bundle(
                "manifest.json: found router.by \(table.by), expected one of \(known): update the app's glue code")
        }
        guard let own = table.thresholds[artifact] else {
            throw ModelError.bundle("manifest.json has no threshold of \(artifact) in router; get the bundle again")
        }
        threshold = own
    }

    /// How sure a prediction is, from 0 to 1; without a table its highest probability.
    public func confidence(_ prediction: Prediction) -> Double {
        confidence(of: prediction.probabilities)
    }

    /// Whether the teacher has to answer instead; never without a table.
    public func asksTeacher(_ prediction: Prediction) -> Bool {
        guard let table else { return false }
        return asks(prediction.probabilities, threshold, table.always)
    }

    /// How many golden rows of the table are decided in another way here.
    var wrongRows: Int {
        guard let table else { return 0 }
        return table.golden.filter { row in
            let probabilities = softmax(row.outputs.values.first ?? [])
            let near = abs(confidence(of: probabilities) - row.confidence) <= 1e-9
            return !near || asks(probabilities, table.goldenThreshold, table.always) != row.teacher
        }.count
    }

    private func confidence(of probabilities: [Double]) -> Double {
        guard probabilities.count > 1, let measure = Self.measures[table?.by ?? "probability"] else { return 1 }
        return measure(probabilities)
    }

    private func asks(_ probabilities: [Double], _ threshold: Double?, _ always: [Int]) -> Bool {
        // What is no number is not sure.
        guard let threshold, confidence(of: probabilities) > threshold else { return true }
        return always.contains(largestIndex(probabilities))
    }

    private static let measures: [String: @Sendable ([Double]) -> Double] = [
        "probability": { $0.max() ?? 0 },
        "margin": { probabilities in
            let falling = probabilities.sorted(by: >)
            return falling[0] - falling[1]
        },
        "entropy": { probabilities in
            let sum = probabilities.filter { $0 > 0 }.reduce(0) { $0 + $1 * log($1) }
            return 1 + sum / log(Double(probabilities.count))
        },
    ]

    private struct Entry: Decodable {
        let router: Table?
    }

    private struct Table: Decodable, Sendable {
        let by: String
        let always: [Int]
        /// With nil the teacher is always asked.
        let thresholds: [String: Double?]
        let goldenThreshold: Double
        let golden: [Row]

        enum CodingKeys: String, CodingKey {
            case by, always, thresholds, golden
            case goldenThreshold = "golden_threshold"
        }
    }

    private struct Row: Decodable, Sendable {
        let outputs: [String: [Double]]
        let confidence: Double
        let teacher: Bool
    }
}
