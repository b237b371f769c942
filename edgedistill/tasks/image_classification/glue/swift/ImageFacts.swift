import Foundation

/// What the manifest says of images only.
struct ImageFacts: Decodable, Sendable {
    let labels: [String]
    let preprocessing: Processing
    let goldenFrames: [GoldenFrame]?

    enum CodingKeys: String, CodingKey {
        case labels, preprocessing
        case goldenFrames = "golden_frames"
    }

    struct Processing: Decodable, Sendable {
        let inputs: [String: Input]
        let outputs: [String: Output]
    }

    struct Input: Decodable, Sendable {
        let kind: String
        let resize: Resize
        let crop: Crop
        let normalization: Place
    }

    struct Resize: Decodable, Sendable {
        /// Of a picture that keeps its shape.
        let shorterSide: Int?
        /// Of a picture that is stretched to a square.
        let width: Int?
        let height: Int?
        let filter: String
        let antialias: Bool

        enum CodingKeys: String, CodingKey {
            case width, height, filter, antialias
            case shorterSide = "shorter_side"
        }
    }

    struct Crop: Decodable, Sendable {
        let height: Int
        let width: Int
        let place: String
    }

    struct Output: Decodable, Sendable {
        let postprocessing: String
        let temperature: Place?
    }

    /// Where a step is done.
    struct Place: Decodable, Sendable {
        let place: String

        enum CodingKeys: String, CodingKey { case place = "where" }
    }

    /// A frame of the bundle, and the pixels that training makes of it.
    struct GoldenFrame: Decodable, Sendable {
        let file: String
        let expected: String
        let format: String
        let width: Int
        let height: Int
        let orientation: Int
        let matrix: String?
        let range: String?
        let planes: [Plane]
    }

    struct Plane: Decodable, Sendable {
        let offset: Int
        let rowStride: Int
        let pixelStride: Int

        enum CodingKeys: String, CodingKey {
            case offset
            case rowStride = "row_stride"
            case pixelStride = "pixel_stride"
        }
    }

    /// The names of the input and of the output, and how the input is made.
    ///
    /// Throws `ModelError.bundle` where the manifest asks for something that this code does not do.
    func checked(_ artifact: Manifest.Artifact) throws -> (input: String, output: String, preprocessing: Preprocessing)
    {
        guard let input = preprocessing.inputs.first, preprocessing.inputs.count == 1,
            let output = preprocessing.outputs.first, preprocessing.outputs.count == 1
        else {
            throw ModelError.bundle(
                "found several inputs or outputs in manifest.json, expected one image and one output")
        }
        let (resize, crop, inside) = (input.value.resize, input.value.crop, "inside the program")
        func demand(_ what: String, _ found: String, _ expected: String) throws {
            guard found == expected else {
                throw ModelError.bundle(
                    "manifest.json: found the \(what) '\(found)', this code does '\(expected)': "
                        + "update the app's glue code"
                )
            }
        }
        try demand("input", input.value.kind, "image")
        guard let filter = Preprocessing.Filter(rawValue: resize.filter) else {
            let known = Preprocessing.Filter.allCases.map { "'\($0.rawValue)'" }.joined(separator: " or ")
            throw ModelError.bundle(
                "manifest.json: found the filter '\(resize.filter)', this code does \(known): "
                    + "update the app's glue code")
        }
        try demand("antialiasing", String(resize.antialias), "true")
        let down = crop.place == "center, rounded down"
        let place = down ? crop.place : "center"
        try demand("crop", "\(crop.place) \(crop.height) x \(crop.width)", "\(place) \(crop.width) x \(crop.width)")
        try demand("place of the normalization", input.value.normalization.place, inside)
        try demand("postprocessing", output.value.postprocessing, "softmax")
        try demand("place of the temperature", output.value.temperature?.place ?? inside, inside)
        let last = artifact.signature.outputs.first { $0.name == output.key }?.shape.last?.fixed
        guard last == labels.count else {
            throw ModelError.bundle(
                "manifest.json has \(labels.count) labels, expected \(last.map(String.init) ?? "one for each value"), "
                    + "as \(output.key) has; export the bundle again")
        }
        guard let side = resize.shorterSide ?? resize.width, resize.width == resize.height, crop.width > 0,
            crop.width <= side
        else {
            throw ModelError.bundle(
                "manifest.json: found a crop of \(crop.width), expected 1 or more, and at most the resized side")
        }
        let stretch = resize.shorterSide == nil
        return (
            input.key, output.key,
            Preprocessing(size: crop.width, side: side, stretch: stretch, filter: filter, roundsDown: down)
        )
    }
}

extension ImageFacts.GoldenFrame {
    /// The frame with the bytes of its file. Throws `ModelError.bundle` for a format that this code does not know.
    func frame(_ bytes: [UInt8]) throws -> Frame {
        guard let format = Frame.Format(rawValue: format), let matrix = Frame.Matrix(rawValue: matrix ?? "bt601"),
            let range = Frame.Range(rawValue: range ?? "full")
        else {
            throw ModelError.bundle("\(file): found the format \(format), which this code does not know: update it")
        }
        let planes = planes.map {
            Frame.Plane(bytes: bytes, offset: $0.offset, rowStride: $0.rowStride, pixelStride: $0.pixelStride)
        }
        return Frame(
            format: format, width: width, height: height, planes: planes, orientation: orientation, matrix: matrix,
            range: range)
    }
}
