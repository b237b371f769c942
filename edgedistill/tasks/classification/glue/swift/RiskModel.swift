import Foundation

/// How probable it is that an answer is wrong: weights of the measures of confidence and of the request's features.
struct RiskModel: Decodable, Sendable {
    let intercept: Double
    let measures: [String: Double]
    let features: [String: Double]

    /// Keeps the odds of a full confidence finite.
    private static let edge = 1e-4

    /// 1 less the probability that an answer is wrong.
    ///
    /// - Parameters:
    ///   - known: The features of the request.
    ///   - measure: Gives the confidence by a name.
    func sureness(_ known: [String: Double], _ measure: (String) -> Double) -> Double {
        var risk = intercept
        for (name, weight) in features { risk += weight * (known[name] ?? .nan) }
        for (name, weight) in measures {
            let confidence = measure(name)
            risk += weight * log((confidence + Self.edge) / (1 + Self.edge - confidence))
        }
        return 1 / (1 + exp(risk))
    }
}
