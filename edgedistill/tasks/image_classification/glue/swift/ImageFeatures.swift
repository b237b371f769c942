import Foundation

private let channels = ["red", "green", "blue"]

/// What is known of an image without the model: mean and standard deviation of each channel, from 0 to 1.
let imageFeatureNames = Set(channels.flatMap { ["\($0)_mean", "\($0)_deviation"] })

/// The features of RGB bytes. Sums are those of whole numbers, so that every language gives the same.
func imageFeatures(of pixels: [UInt8]) -> [String: Double] {
    var found: [String: Double] = [:]
    let count = pixels.count / channels.count
    let scale = Double(count) * 255
    for (channel, name) in channels.enumerated() {
        var (sum, squares) = (0, 0)
        for index in stride(from: channel, to: pixels.count, by: channels.count) {
            let value = Int(pixels[index])
            sum += value
            squares += value * value
        }
        found["\(name)_mean"] = Double(sum) / scale
        found["\(name)_deviation"] = Double(count * squares - sum * sum).squareRoot() / scale
    }
    return found
}
