import Foundation

/// Which answers a larger model, the teacher, has to give instead: the decision table of the bundle.
public struct Router: Sendable {
    private let table: Table?
    private let threshold: Double?

    /// - Parameters:
    ///   - bundle: Its manifest may have a table.
    ///   - artifact: The name of the artifact that answers, whose threshold counts.
    ///   - features: What this package knows of requests.
    /// - Throws: `ModelError.bundle` where the table is damaged, or of newer code.
    init(_ bundle: BundleFolder, artifact: String, features: Set<String>) throws {
        table = try Manifest.decode(Entry.self, from: bundle.manifestData).router
        guard let table else {
            threshold = nil
            return
        }
        let known = Set(Self.measures.keys).union([Self.byRisk])
        guard known.isSuperset(of: [table.by]), known.isSuperset(of: (table.risk?.measures ?? [:]).keys),
            table.by != Self.byRisk || table.risk != nil
        else {
            throw ModelError.bundle(
                "manifest.json: found router.by \(table.by), expected one of "
                    + "\(known.sorted().joined(separator: ", ")): update the app's glue code")
        }
        let read = Set(table.rules.map(\.of)).union((table.risk?.features ?? [:]).keys)
        guard features.isSuperset(of: read) else {
            throw ModelError.bundle(
                "manifest.json: found a router that reads \(read.sorted().joined(separator: ", ")), expected features "
                    + "among \(features.sorted().joined(separator: ", ")): update the app's glue code")
        }
        guard let own = table.thresholds[artifact] else {
            throw ModelError.bundle("manifest.json has no threshold of \(artifact) in router; get the bundle again")
        }
        threshold = own
    }

    /// How sure a prediction is, from 0 to 1; without a table its highest probability.
    public func confidence(_ prediction: Prediction) -> Double {
        confidence(of: prediction.probabilities, prediction.features)
    }

    /// Whether the teacher has to answer instead; never without a table.
    public func asksTeacher(_ prediction: Prediction) -> Bool {
        guard let table else { return false }
        return asks(prediction.probabilities, prediction.features, threshold, table)
    }

    /// How many golden rows of the table are decided in another way here.
    var wrongRows: Int {
        guard let table else { return 0 }
        return table.golden.filter { row in
            let (probabilities, features) = (softmax(row.outputs.values.first ?? []), row.features ?? [:])
            let near = abs(confidence(of: probabilities, features) - row.confidence) <= 1e-9
            return !near || asks(probabilities, features, table.goldenThreshold, table) != row.teacher
        }.count
    }

    private func confidence(of probabilities: [Double], _ features: [String: Double]) -> Double {
        func measure(_ name: String) -> Double {
            guard probabilities.count > 1, let measure = Self.measures[name] else { return 1 }
            return measure(probabilities)
        }
        guard let risk = table?.risk else { return measure(table?.by ?? "probability") }
        return risk.sureness(features, measure)
    }

    private func asks(_ probabilities: [Double], _ features: [String: Double], _ threshold: Double?, _ table: Table)
        -> Bool
    {
        // What is no number is not sure, and not known to be harmless.
        guard let threshold, confidence(of: probabilities, features) > threshold else { return true }
        let within = table.rules.allSatisfy { $0.allows(features[$0.of] ?? .nan) }
        return !within || table.always.contains(largestIndex(probabilities))
    }

    private static let byRisk = "risk"
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
        let when: [Rule]?
        let risk: RiskModel?
        /// With nil the teacher is always asked.
        let thresholds: [String: Double?]
        let goldenThreshold: Double
        let golden: [Row]
        var rules: [Rule] { when ?? [] }

        enum CodingKeys: String, CodingKey {
            case by, always, when, risk, thresholds, golden
            case goldenThreshold = "golden_threshold"
        }
    }

    /// The teacher is asked where a feature is above or below a number.
    private struct Rule: Decodable, Sendable {
        let of: String
        let above: Double?
        let below: Double?

        func allows(_ value: Double) -> Bool {
            value <= above ?? .infinity && value >= below ?? -.infinity
        }
    }

    private struct Row: Decodable, Sendable {
        let outputs: [String: [Double]]
        let features: [String: Double]?
        let confidence: Double
        let teacher: Bool
    }
}
