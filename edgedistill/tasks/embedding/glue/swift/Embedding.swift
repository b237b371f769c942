/// The vector of a text.
public struct Embedding: Sendable, Equatable {
    /// One number for each dimension.
    public let values: [Float]

    public init(values: [Float]) { self.values = values }

    /// The cosine of two embeddings, from -1 to 1: texts that mean the same are close to 1. 0 where one of them has no
    /// direction.
    ///
    /// - Throws: `ModelError.input` where they have different sizes, so that they are not of the same model.
    public func similarity(_ other: Embedding) throws -> Double {
        guard values.count == other.values.count else {
            throw ModelError.input(
                "found embeddings of \(values.count) and \(other.values.count) numbers, expected two of the same model")
        }
        let lengths = product(self, self).squareRoot() * product(other, other).squareRoot()
        return lengths == 0 ? 0 : min(1, max(-1, product(self, other) / lengths))
    }
}

private func product(_ a: Embedding, _ b: Embedding) -> Double {
    zip(a.values, b.values).reduce(0) { $0 + Double($1.0) * Double($1.1) }
}
