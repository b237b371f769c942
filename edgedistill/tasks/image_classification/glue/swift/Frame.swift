import Foundation

/// Pixels in memory, as a camera or a decoder gives them.
///
/// See `Frame+CVPixelBuffer.swift` and `Frame+CGImage.swift` for frames of the camera and of photos.
public struct Frame: Sendable {
    /// How bytes are pixels. Alpha is not premultiplied; 16-bit numbers are little endian.
    public enum Format: String, Sendable, CaseIterable {
        case rgb8, bgr8, rgba8, bgra8, grey8, grey16, yuv420
    }

    /// How YCbCr becomes RGB.
    public enum Matrix: String, Sendable, CaseIterable {
        case bt601, bt709
    }

    /// Which values YCbCr has: 0...255, or 16...235 for Y and 16...240 for Cb and Cr.
    public enum Range: String, Sendable, CaseIterable {
        case full, video
    }

    /// Where the samples of a plane are. All numbers are bytes.
    public struct Plane: Sendable {
        public var bytes: [UInt8]
        /// Of the first sample.
        public var offset: Int
        /// From a row to the next one.
        public var rowStride: Int
        /// From a sample to the next one of its row.
        public var pixelStride: Int

        public init(bytes: [UInt8], offset: Int = 0, rowStride: Int, pixelStride: Int) {
            self.bytes = bytes
            self.offset = offset
            self.rowStride = rowStride
            self.pixelStride = pixelStride
        }
    }

    public var format: Format
    /// In pixels, as they lie in memory, before the orientation is applied.
    public var width: Int
    public var height: Int
    /// One, or three for `yuv420`: Y, and Cb and Cr of (width + 1) / 2 x (height + 1) / 2 samples. NV12 and NV21 have
    /// Cb and Cr in the same bytes, with offsets 0 and 1 and a pixel stride of 2.
    public var planes: [Plane]
    /// What EXIF says (1...8), also the raw value of CGImagePropertyOrientation.
    public var orientation: Int
    /// Of `yuv420` only.
    public var matrix: Matrix
    /// Of `yuv420` only.
    public var range: Range

    public init(
        format: Format, width: Int, height: Int, planes: [Plane], orientation: Int = 1, matrix: Matrix = .bt601,
        range: Range = .full
    ) {
        self.format = format
        self.width = width
        self.height = height
        self.planes = planes
        self.orientation = orientation
        self.matrix = matrix
        self.range = range
    }
}

extension Frame.Format {
    /// Bytes of one sample of a plane.
    var sampleSize: Int {
        switch self {
        case .rgb8, .bgr8: 3
        case .rgba8, .bgra8: 4
        case .grey16: 2
        case .grey8, .yuv420: 1
        }
    }
}

extension Frame {
    /// Throws `ModelError.input` where a size, a stride, a plane or the orientation can't be right.
    func check() throws {
        // Products of two such numbers can't overflow.
        let most = Int(Int32.max)
        guard (1...most).contains(width), (1...most).contains(height) else {
            throw ModelError.input("found a frame of \(width) x \(height), expected a width and height of 1 or more")
        }
        guard (1...8).contains(orientation) else {
            throw ModelError.input("found the orientation \(orientation), expected 1 to 8 as in EXIF")
        }
        let (long, short) = (max(width, height), min(width, height))
        guard long <= 50 * short else {
            throw ModelError.input("found a frame of \(width) x \(height), expected sides of a ratio of 50 at most")
        }
        let expected = format == .yuv420 ? 3 : 1
        guard planes.count == expected else {
            throw ModelError.input("found \(planes.count) planes of \(format.rawValue), expected \(expected)")
        }
        for (index, plane) in planes.enumerated() {
            let columns = index == 0 ? width : (width + 1) / 2
            let rows = index == 0 ? height : (height + 1) / 2
            try plane.check("plane \(index) of \(format.rawValue)", columns: columns, rows: rows, format.sampleSize)
        }
    }
}

extension Frame.Plane {
    fileprivate func check(_ name: String, columns: Int, rows: Int, _ sampleSize: Int) throws {
        let most = Int(Int32.max)
        guard (0...most).contains(offset), (sampleSize...most).contains(pixelStride) else {
            throw ModelError.input(
                "\(name): found the offset \(offset) and the pixel stride \(pixelStride), "
                    + "expected 0 or more and \(sampleSize) or more")
        }
        // The last sample of a row, and the last row, may end behind their last byte.
        let row = (columns - 1) * pixelStride + sampleSize
        guard rowStride <= most, rowStride >= row || rows == 1 && rowStride >= 0 else {
            throw ModelError.input(
                "\(name): found a row stride of \(rowStride), expected the \(row) bytes of a row or more")
        }
        let needed = offset + (rows - 1) * rowStride + row
        guard bytes.count >= needed else {
            throw ModelError.input("\(name): found \(bytes.count) bytes, expected \(needed) or more")
        }
    }
}
