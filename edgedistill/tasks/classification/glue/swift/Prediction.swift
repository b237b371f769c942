import Foundation

/// What a picture or a text may be. `Generated.swift` has those of this model.
public struct Label: Hashable, Sendable {
    /// Its place in the model's output.
    public let index: Int
    public let name: String

    public init(index: Int, name: String) {
        self.index = index
        self.name = name
    }
}

/// What the model says of a picture or a text.
public struct Prediction: Sendable {
    /// A label with its probability in 0...1.
    public struct Candidate: Sendable {
        public let label: Label
        public let probability: Double
    }

    /// The most probable label.
    public var label: Label { candidates[largestIndex(probabilities)].label }
    /// The probability of `label`, in 0...1.
    public var probability: Double { probabilities[largestIndex(probabilities)] }
    /// All labels, in the order of the model's output.
    public let candidates: [Candidate]
    /// All probabilities, in the same order. They add up to 1.
    public var probabilities: [Double] { candidates.map(\.probability) }
    /// What is known of the request without the model, such as its length.
    public let features: [String: Double]

    /// - Parameters:
    ///   - logits: What the model gave, a number for each label.
    ///   - names: Names of the labels, in the same order.
    ///   - features: What is known of the request.
    init(logits: [Double], names: [String], features: [String: Double]) {
        self.features = features
        candidates = zip(softmax(logits), names.enumerated()).map {
            Candidate(label: Label(index: $1.offset, name: $1.element), probability: $0)
        }
    }

    /// The `count` most probable labels, the most probable first; of equal ones the first of the output.
    public func top(_ count: Int) -> [Candidate] {
        Array(
            candidates.sorted { ($1.probability, $0.label.index) < ($0.probability, $1.label.index) }.prefix(
                max(0, count)))
    }
}

/// The probabilities of logits. The largest logit is subtracted first, so that nothing overflows.
func softmax(_ logits: [Double]) -> [Double] {
    let largest = logits.max() ?? 0
    let powers = logits.map { exp($0 - largest) }
    let sum = powers.reduce(0, +)
    return powers.map { $0 / sum }
}
