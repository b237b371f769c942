import Foundation
import ImageIO
import Observation
import SampleModel

/// The model, and what it said last.
@MainActor
@Observable
final class Classifier {
    /// Artifact, runtime and delegate; nil while the model is being loaded.
    private(set) var info: ModelInfo?
    /// The most probable labels of the last picture.
    private(set) var top: [Prediction.Candidate] = []
    /// Milliseconds of the last predictions, preprocessing included.
    private(set) var latencies: [Double] = []
    /// What the self-test found, or what went wrong.
    private(set) var message: String?

    private static let shown = 3
    private static let kept = 50
    private static let longestSide = 2048
    private var model: ImageModel?

    /// The median of `latencies`; nil without any.
    var latency: Double? { latencies.isEmpty ? nil : median(latencies) }

    func load() async {
        guard model == nil else { return }
        do {
            let loaded = try await ImageModel.load()
            try await loaded.warmUp()
            model = loaded
            info = loaded.info
        } catch {
            show(error)
        }
    }

    /// Says what a frame of the camera shows.
    func see(_ frame: Frame) async {
        guard let model else { return }
        do {
            let began = Clock.monotonic()
            let prediction = try await model.predict(frame)
            let ms = Double(Clock.monotonic() - began) / 1e6
            top = prediction.top(Self.shown)
            latencies = (latencies + [ms]).suffix(Self.kept)
        } catch is CancellationError {
            // The camera is gone.
        } catch {
            show(error)
        }
    }

    /// Says what the picture in the bytes of a file shows.
    func see(_ file: Data) async {
        do {
            let longest = Self.longestSide
            await see(try await Task.detached { try Self.decode(file, longest) }.value)
        } catch {
            show(error)
        }
    }

    /// Runs the golden inputs and frames of the bundle on this phone.
    func selfTest() async {
        guard let model else { return }
        do {
            message = try await model.selfTest().describe()
        } catch {
            show(error)
        }
    }

    func show(_ error: any Error) {
        message = error.localizedDescription
    }

    /// Decodes a picture, upright, and smaller where its longer side has more than `longest` pixels.
    private nonisolated static func decode(_ file: Data, _ longest: Int) throws -> Frame {
        let options: [CFString: Any] = [
            kCGImageSourceCreateThumbnailFromImageAlways: true, kCGImageSourceCreateThumbnailWithTransform: true,
            kCGImageSourceThumbnailMaxPixelSize: longest,
        ]
        guard let source = CGImageSourceCreateWithData(file as CFData, nil),
            let image = CGImageSourceCreateThumbnailAtIndex(source, 0, options as CFDictionary)
        else {
            throw ModelError.input("found a file that can't be decoded, expected a picture")
        }
        return try Frame(image)
    }
}
